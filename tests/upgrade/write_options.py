"""Print a configuration file with every option of a release. To be run in that release."""

import importlib

MODULES = ("rpc_api", "nova_sched.service", "nova_sched.scheduler", "conductor", "compute_agent", "placement_api")


def main():
    for name in MODULES:
        try:
            module = importlib.import_module(f"{name}.config")
        except ImportError:
            continue  # another release has it
        for group, options in module.list_opts():
            section = getattr(group, "name", group) or "DEFAULT"
            print(f"[{section.replace('cell:NAME', 'cell:cell1')}]")
            for option in options:
                print(f"{option.dest} = {'cell1' if (section, option.dest) == ('cells', 'enabled') else 'x'}")


if __name__ == "__main__":
    main()
