"""The real Placement in this process: its handlers behind its microversions, over a database in memory.

Run by the peer's own Python. Imports nothing of this project. Left out are the token, the log of requests and the
policy, which decide nothing here.
"""

import functools
import io
import json
import logging
import urllib.parse
from collections import defaultdict

import jsonschema
import sqlalchemy
from microversion_parse import middleware
from oslo_config import cfg
from placement import conf, context, db_api, deploy, handler, microversion, util
from placement.db.sqlalchemy import models

INVENTORY = "total, reserved, min_unit, max_unit, step_size, allocation_ratio"
#: Tables that are emptied between worlds, and the rows of the others that are removed.
EMPTIED = (
    "allocations",
    "inventories",
    "resource_provider_traits",
    "resource_provider_aggregates",
    "consumers",
    "resource_providers",
    "placement_aggregates",
    "traits WHERE name LIKE 'CUSTOM|_%' ESCAPE '|'",
    "resource_classes WHERE name LIKE 'CUSTOM|_%' ESCAPE '|'",
)


def _compiled():
    """A ``jsonschema.validate`` that checks each schema once and keeps it: the check takes most of a short request."""
    kept = {}

    def validate(data, schema, format_checker=None):
        if id(schema) not in kept:
            checker = jsonschema.validators.validator_for(schema)(schema, format_checker=format_checker)
            # The schema is kept, too, so that no other gets its id.
            kept[id(schema)] = checker, schema
        fault = next(kept[id(schema)][0].iter_errors(data), None)
        if fault is not None:
            raise fault

    return validate


class Placement:
    """Placement 16 with an empty database."""

    def __init__(self):
        logging.getLogger("placement").setLevel(logging.CRITICAL)
        # A statement made of the same alias is the same statement, and need not be made again.
        sqlalchemy.alias = functools.cache(sqlalchemy.alias)
        util.jsonschema.validate = _compiled()
        context.RequestContext.can = lambda *_, **__: True
        self.conf = cfg.ConfigOpts()
        conf.register_opts(self.conf)
        self.conf.set_override("connection", "sqlite://", "placement_database")
        self.conf([], default_config_files=[])
        self.conf.set_override("sync_on_startup", False, "placement_database")
        db_api.configure(self.conf)
        self.engine = db_api.placement_context_manager.writer.get_engine()
        models.BASE.metadata.create_all(self.engine)
        deploy.update_database(self.conf)
        self._app = middleware.MicroversionMiddleware(
            handler.PlacementHandler(config=self.conf),
            microversion.SERVICE_TYPE,
            microversion.VERSIONS,
            json_error_formatter=util.json_error_formatter,
        )

    def empty(self):
        """Forget all that clients wrote."""
        with self.engine.begin() as connection:
            for rows in EMPTIED:
                connection.exec_driver_sql(f"DELETE FROM {rows}")

    def call(self, method, path, body=None, version="1.39"):
        """The status of an answer, and its body, read if it has one."""
        status, answer = self.raw(method, path, b"" if body is None else json.dumps(body).encode(), version)
        return status, json.loads(answer) if answer else None

    def raw(self, method, path, raw, version="1.39"):
        """The status of an answer, and its body, to a body as bytes. What Placement raises, a web server answers with
        500."""
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": urllib.parse.unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(raw)),
            "HTTP_ACCEPT": "application/json",
            "HTTP_OPENSTACK_API_VERSION": f"placement {version}",
            "SERVER_NAME": "placement",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(raw),
            "placement.context": context.RequestContext(user_id="admin", project_id="admin"),
        }
        statuses = []
        answer = b"".join(self._app(environ, lambda status, *_: statuses.append(status)))
        return int(statuses[0].split()[0]), answer

    def drop_records_of_nobody(self):
        """Remove the records of consumers that hold nothing. Returns the uuids of these consumers."""
        condition = "FROM consumers WHERE uuid NOT IN (SELECT consumer_id FROM allocations)"
        with self.engine.begin() as connection:
            records = {uuid for (uuid,) in connection.exec_driver_sql(f"SELECT uuid {condition}")}
            if records:
                connection.exec_driver_sql(f"DELETE {condition}")
        return records

    def state(self):
        """All that clients can read, as :func:`tests.against_nova.ledger_answers.state_of` makes it of a projection."""
        return state_in(self.engine)


def state_in(engine):
    """All that clients can read of a database, as plain values."""
    with engine.connect() as connection:

        def rows(statement):
            return connection.exec_driver_sql(statement).fetchall()

        uuids = dict(rows("SELECT id, uuid FROM resource_providers"))
        classes = dict(rows("SELECT id, name FROM resource_classes"))
        providers = {
            uuid: {
                "name": name,
                "parent": uuids.get(parent),
                "root": uuids[root],
                "generation": generation,
                "inventories": {},
                "used": {},
                "traits": [],
                "aggregates": [],
            }
            for uuid, name, parent, root, generation in rows(
                "SELECT uuid, name, parent_provider_id, root_provider_id, generation FROM resource_providers"
            )
        }
        for provider, of, *numbers in rows(
            f"SELECT resource_provider_id, resource_class_id, {INVENTORY} FROM inventories"
        ):
            providers[uuids[provider]]["inventories"][classes[of]] = tuple(numbers)
            providers[uuids[provider]]["used"][classes[of]] = 0
        for provider, name in rows(
            "SELECT p.resource_provider_id, t.name FROM resource_provider_traits p JOIN traits t ON t.id = p.trait_id"
        ):
            providers[uuids[provider]]["traits"].append(name)
        for provider, uuid in rows(
            "SELECT p.resource_provider_id, a.uuid FROM resource_provider_aggregates p "
            "JOIN placement_aggregates a ON a.id = p.aggregate_id"
        ):
            providers[uuids[provider]]["aggregates"].append(uuid)
        consumers = {
            uuid: {
                "generation": generation,
                "project": project,
                "user": user,
                "type": kind,
                "allocations": defaultdict(dict),
            }
            for uuid, generation, project, user, kind in rows(
                "SELECT c.uuid, c.generation, p.external_id, u.external_id, t.name FROM consumers c "
                "JOIN projects p ON p.id = c.project_id JOIN users u ON u.id = c.user_id "
                "LEFT JOIN consumer_types t ON t.id = c.consumer_type_id"
            )
        }
        for consumer, provider, of, amount in rows(
            "SELECT consumer_id, resource_provider_id, resource_class_id, used FROM allocations"
        ):
            consumers[consumer]["allocations"][uuids[provider]][classes[of]] = amount
            providers[uuids[provider]]["used"][classes[of]] += amount
        for facts in providers.values():
            facts["traits"].sort()
            facts["aggregates"].sort()
        return {
            "providers": providers,
            "consumers": consumers,
            "classes": sorted(name for name in classes.values() if name.startswith("CUSTOM_")),
            "traits": [
                name for (name,) in rows("SELECT name FROM traits WHERE name LIKE 'CUSTOM|_%' ESCAPE '|' ORDER BY name")
            ],
        }
