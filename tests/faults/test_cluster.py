"""A cluster of three nodes over which the logs are replicated: nodes are killed, leaders change."""

import pytest

from rpc_api.log import open_log
from tests.faults.load import CELL0, under_load
from tests.servers import RabbitCluster, start_all, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long]

#: Erlang: ends the process that leads the stream of this name.
END_LEADER = (
    '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), exit(amqqueue:get_pid(Q), kill).'
)


def clustered(what, tmp_path, cluster, **how):
    return under_load(what, tmp_path, cluster.transport_url, cluster.url, **how)


def test_the_leaders_node_is_killed(tmp_path, cluster):
    with clustered("the node of the log's leader is killed and started again", tmp_path, cluster) as (_, load):
        cluster.wait_replicated("cell1")
        with load.fault():
            leader = cluster.leader("cell1")
            leader.kill()
            load.wait_selected(100)
            leader.start()
        cluster.wait_replicated("cell1")
    assert load.wrong == []


def test_a_followers_node_is_killed(tmp_path, cluster):
    with clustered("the node of a follower is killed and started again", tmp_path, cluster) as (_, load):
        cluster.wait_replicated("cell1")
        with load.fault():
            follower = cluster.followers("cell1")[-1]
            follower.kill()
            load.wait_selected(100)
            follower.start()
        cluster.wait_replicated("cell1")
    assert load.wrong == []


def test_leaders_change_while_all_nodes_run(tmp_path, cluster):
    with clustered("the leaders of both logs end, 5 times, while all nodes run", tmp_path, cluster) as (_, load):
        with load.fault():
            for _ in range(5):
                for stream in (CELL0, "cell1"):
                    cluster.wait_replicated(stream)
                    cluster.nodes[0].rabbitmqctl("eval", END_LEADER % stream)
                load.wait_selected(20)
    assert load.wrong == []


def test_every_node_is_stopped_and_started_in_turn(tmp_path, cluster):
    with clustered("a rolling restart of all nodes", tmp_path, cluster) as (_, load):
        with load.fault():
            for node in cluster.nodes:
                cluster.wait_replicated("cell1")
                node.stop()
                load.wait_selected(20)
                node.start()
    assert load.wrong == []


def test_the_majority_is_killed(tmp_path, cluster):
    """Appends stop, and are not lost: what was answered is there, what was not is tried again."""
    with clustered("two of three nodes are killed, and started again", tmp_path, cluster) as (cloud, load):
        cluster.wait_replicated("cell1")
        with load.fault():
            lost = cluster.nodes[1:]
            for node in lost:
                node.kill()
            wait_until(
                lambda: cloud.said("cannot append, and keeps trying|cannot be read, and is tried again"),
                60,
                "nobody says that the log is away",
            )
            start_all(lost)
        cluster.wait_replicated("cell1")
    assert load.wrong == []


def test_a_node_of_the_rpc_broker_is_killed(tmp_path, cluster, rabbit_of_logs):
    with under_load(
        "each node of the RPC brokers' cluster is killed and started again, in turn",
        tmp_path,
        cluster.transport_url,
        rabbit_of_logs.url,
    ) as (_, load):
        with load.fault():
            for node in cluster.nodes:
                node.kill()
                load.wait_selected(100)
                node.start()
    assert load.wrong == []


def test_the_replica_that_is_read_is_deleted(tmp_path, cluster):
    """The broker says nothing of it to those who read there."""
    read = cluster.nodes[2]
    for name in (CELL0, "cell1"):
        open_log(cluster.nodes[0].url(name)).close()
    with under_load(
        "the replicas that the services read are deleted, and added again",
        tmp_path,
        cluster.transport_url,
        lambda name: cluster.url(name, first=read),
    ) as (_, load):
        with load.fault():
            for name in (CELL0, "cell1"):
                cluster.wait_replicated(name)
                assert cluster.leader(name) is not read
                cluster.nodes[0].rabbitmq_streams("delete_replica", name, read.node)
            load.wait_selected(200)
            for name in (CELL0, "cell1"):
                cluster.nodes[0].rabbitmq_streams("add_replica", name, read.node)
                cluster.wait_replicated(name)
    assert load.wrong == []


def test_the_leaders_node_hangs(tmp_path, rabbit):
    """No node gets a notice: the other nodes give it up after net_ticktime (60 s). RPC is on a broker of its own, as
    oslo.messaging goes on trying a node that takes connections and does not answer."""
    with (
        RabbitCluster(settings=("cluster_partition_handling = pause_minority",)) as logs,
        under_load(
            "the node of the log's leader hangs (SIGSTOP) until others go on, and is let go",
            tmp_path,
            rabbit.url(),
            logs.url,
        ) as (_, load),
    ):
        logs.wait_replicated("cell1")
        with load.fault():
            leader = logs.leader("cell1")
            leader.freeze()
            load.wait_selected(200)
            leader.thaw()
        logs.wait_replicated("cell1")
    assert load.wrong == []


def test_the_whole_cluster_is_killed(tmp_path, cluster):
    with clustered("all three nodes are killed, and started again", tmp_path, cluster) as (_, load):
        cluster.wait_replicated("cell1")
        with load.fault():
            for node in cluster.nodes:
                node.kill()
            start_all(cluster.nodes)
        cluster.wait_replicated("cell1")
    assert load.wrong == []
