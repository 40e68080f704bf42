#!/bin/bash
# The scripts of Kafka's archive, in /opt/kafka/bin: which main class, by the name of the script.
set -euo pipefail
case ${0##*/} in
    kafka-storage.sh) main=kafka.tools.StorageTool ;;
    kafka-server-start.sh) main=kafka.Kafka ;;
    connect-distributed.sh) main=org.apache.kafka.connect.cli.ConnectDistributed ;;
esac
# shellcheck disable=SC2086  # several arguments
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS-} ${KAFKA_JVM_PERFORMANCE_OPTS-} ${KAFKA_LOG4J_OPTS-} ${KAFKA_OPTS-} \
    -cp '/opt/kafka/libs/*' "$main" "$@"
