"""The real Placement answers here, over a database in memory.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import copy

import jsonschema
import microversion_parse
from oslo_config import cfg
from placement import conf, context, db_api, deploy, exception, lib
from placement.db.sqlalchemy import models
from placement.handlers import inventory as handler
from placement.objects import (
    allocation,
    allocation_candidate,
    consumer,
    inventory,
    project,
    research_context,
    resource_class,
    resource_provider,
    trait,
    user,
)
from placement.schemas import inventory as schema

CONF = cfg.ConfigOpts()
conf.register_opts(CONF)
CONF.set_override("connection", "sqlite://", "placement_database")
CONF([], default_config_files=[])
CONF.set_override("sync_on_startup", False, "placement_database")
db_api.configure(CONF)
models.BASE.metadata.create_all(db_api.placement_context_manager.writer.get_engine())
deploy.update_database(CONF)

# Under group_policy=isolate Placement 16 adds the amounts of the unsuffixed group to a record that its candidates
# share, so that they grow from one candidate to the next. The differences that this makes are not ours to follow.
research_context.RequestWideSearchContext.copy_arr_if_needed = lambda self, arr: copy.copy(arr)

#: What is emptied between clouds; traits and resource classes stay.
EMPTIED = (
    models.Allocation,
    models.Inventory,
    models.ResourceProviderTrait,
    models.ResourceProviderAggregate,
    models.Consumer,
    models.ResourceProvider,
    models.PlacementAggregate,
)
known = {"classes": set(), "traits": set()}


def new_context():
    made = context.RequestContext()
    made.config = CONF
    return made


@db_api.placement_context_manager.writer
def _empty(ctx):
    for model in EMPTIED:
        if model is models.ResourceProvider:
            ctx.session.query(model).update({"root_provider_id": None, "parent_provider_id": None})
        ctx.session.query(model).delete()


def _trait(ctx, name):
    if name not in known["traits"]:
        known["traits"].add(name)
        if not name.startswith("HW_"):
            trait.Trait(ctx, name=name).create()
    return trait.Trait.get_by_name(ctx, name)


def _class(ctx, name):
    if name.startswith("CUSTOM_") and name not in known["classes"]:
        known["classes"].add(name)
        resource_class.ResourceClass(ctx, name=name).create()
    return name


def load(providers, traits, classes):
    """Forget all providers and take these: parents before children, with what is used of each class."""
    ctx = new_context()
    _empty(ctx)
    for name in traits:
        _trait(ctx, name)
    for name in classes:
        _class(ctx, name)
    ctx = new_context()
    owner, of = user.User(ctx, external_id="u"), project.Project(ctx, external_id="p")
    for one in (owner, of):
        try:
            one.create()
        except (exception.UserExists, exception.ProjectExists):
            # Of an earlier call.
            continue
    owner, of = user.User.get_by_external_id(ctx, "u"), project.Project.get_by_external_id(ctx, "p")
    for facts in providers:
        made = resource_provider.ResourceProvider(ctx, name=facts["uuid"], uuid=facts["uuid"])
        if facts["parent"]:
            made.parent_provider_uuid = facts["parent"]
        made.create()
        made.set_aggregates(facts["aggregates"])
        made.set_traits([_trait(ctx, name) for name in facts["traits"]])
        made.set_inventory([inventory.Inventory(ctx, resource_provider=made, **one) for one in facts["inventories"]])
        if facts["used"]:
            taker = consumer.Consumer(ctx, uuid=facts["consumer"], user=owner, project=of)
            taker.create()
            allocation.replace_all(
                ctx,
                [
                    allocation.Allocation(resource_provider=made, resource_class=name, consumer=taker, used=amount)
                    for name, amount in facts["used"].items()
                ],
            )


def candidates(groups, policy, root_required, root_forbidden, same_subtree):
    """All allocation candidates: root, allocations, mappings."""
    ctx = new_context()
    wanted = {
        suffix: lib.RequestGroup(
            use_same_provider=suffix != "",
            resources=group["resources"],
            required_traits=[set(one) for one in group["required"]],
            forbidden_traits=set(group["forbidden"]),
            member_of=[set(one) for one in group["member_of"]],
            in_tree=group["in_tree"],
            forbidden_aggs=set(group["forbidden_aggregates"]),
        )
        for suffix, group in groups.items()
    }
    found = allocation_candidate.AllocationCandidates.get_by_requests(
        ctx,
        wanted,
        lib.RequestWideParams(
            group_policy=policy or None,
            anchor_required_traits=set(root_required) or None,
            anchor_forbidden_traits=set(root_forbidden) or None,
            same_subtrees=[set(one) for one in same_subtree],
        ),
    )
    return [
        [
            request.anchor_root_provider_uuid,
            sorted(
                [item.resource_provider.uuid, item.resource_class, item.amount] for item in request.resource_requests
            ),
            {suffix: sorted(uuids) for suffix, uuids in request.mappings.items()},
        ]
        for request in found.allocation_requests
    ]


def capacities(records):
    """For each inventory its capacity; None where version 1.26 of the API refuses it, with 400."""
    version = microversion_parse.Version(1, 26)
    version.max_version, version.min_version = microversion_parse.Version(1, 39), microversion_parse.Version(1, 0)
    owner = resource_provider.ResourceProvider(None, uuid="a", name="a")
    answers = []
    for record in records:
        try:
            jsonschema.validate(record, schema.PUT_INVENTORY_RECORD_SCHEMA)
            made = inventory.Inventory(None, resource_provider=owner, resource_class="VCPU", **record)
            handler._validate_inventory_capacity(version, made)
            answers.append(made.capacity)
        except (jsonschema.ValidationError, exception.InvalidInventoryCapacityReservedCanBeTotal):
            answers.append(None)
    return answers


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (load, candidates, capacities)
