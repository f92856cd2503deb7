def list_candidates(request):
    raise NotImplementedError
