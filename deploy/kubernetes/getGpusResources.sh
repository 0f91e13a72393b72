#!/bin/sh
# Tells Spark which GPUs a pod has, in the form that it expects of a discovery script. MIG slices are listed by their ids.
# Source: https://spark.apache.org/docs/latest/configuration.html#custom-resource-scheduling-and-configuration-overview
exec nvidia-smi -L | awk '
    /^GPU/ { gpus[++count] = $2; sub(/:$/, "", gpus[count]) }
    /MIG/ && match($0, /MIG-[0-9a-fA-F-]+/) { slices[++sliced] = substr($0, RSTART, RLENGTH) }
    END {
        total = sliced ? sliced : count
        printf "{\"name\": \"gpu\", \"addresses\": ["
        for (i = 1; i <= total; i++) printf "%s\"%s\"", (i > 1 ? ", " : ""), (sliced ? i - 1 : gpus[i])
        print "]}"
    }'
