"""One file for each noun of the API: functions of a request that return a response."""
