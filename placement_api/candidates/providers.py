def providers_matching(request):
    """stub"""
    table = request.region.table
    name = request.GET.get("name")
    uuid = request.GET.get("uuid")
    return [
        row
        for p in request.region.projections()
        for u, t in p.trees.items()
        for row in [t.rows[u]]
        if (name is None or table.provider_names[row] == name) and (uuid is None or u == uuid)
    ]
