#!/bin/bash
# again.sh NAME: start a process of the cloud that died, as it was started before.
. "$(dirname "$0")/env.sh"
again "$1"
