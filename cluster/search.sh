#!/bin/sh
# Starts a search on the cluster of this node, or goes on with it where the storage has it already: the launch files of
# this folder may run it again after whatever happened. Where it goes on, the options are those of the first time.
#
#   cluster/search.sh STORAGE NAME --space temps.yaml --data /shared/ntu60.arrow ...
set -eu
storage=$1 name=$2
shift 2
begun=$(python -m cmd_tune.runs.has_run "$storage" "$name") # a folder or a URI
if [ "$begun" = yes ]; then
    set -- --resume "$name"
else
    set -- --name "$name" "$@"
fi
exec python -m cmd_tune search "$@" --storage "$storage" --address auto
