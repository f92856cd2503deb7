"""How Sphinx builds the documentation: ``make docs`` writes it to ``build/html`` and fails on a warning."""

project = "nova_sched"
author = "the nova_sched developers"
copyright = author

extensions = ["myst_parser", "openstackdocstheme", "reno.sphinxext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["deflist"]
# Headings get anchors, so that pages can link to a section as they do on a forge.
myst_heading_anchors = 3

templates_path = ["_templates"]
html_theme = "openstackdocs"
openstackdocs_auto_name = False
openstackdocs_auto_version = False
html_title = "nova_sched"
html_last_updated_fmt = None
