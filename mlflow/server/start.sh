#!/bin/sh
# Starts the tracking server of a team: runs and versions in PostgreSQL, files in S3, and only users
# with a password. All that it needs comes from the environment (mlflow/README.md lists it); what it
# writes lies in STATE, which nobody else can read. The containers of compose.yaml call it, too.
set -eu
umask 077

: "${MLFLOW_BACKEND_STORE_URI:?is not set; such as postgresql+psycopg2://mlflow:PASSWORD@localhost/mlflow}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?is not set; such as s3://BUCKET/FOLDER}"
: "${MLFLOW_SERVER_ALLOWED_HOSTS:?is not set; the names that clients call the server by, with commas}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?is not set; a long random text, always the same}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?is not set; the first administrator gets it}"
STATE=${STATE:-mlflow/state}

mkdir -p "$STATE"
# The file is read by Python's configparser, where a percent sign is written twice.
users=$(printf %s "$MLFLOW_BACKEND_STORE_URI" | sed 's/%/%%/g')
cat > "$STATE/users.ini" <<INI
[mlflow]
default_permission = READ
database_uri = $users
INI

export MLFLOW_AUTH_CONFIG_PATH="$STATE/users.ini"
export MLFLOW_AUTH_ADMIN_USERNAME="${MLFLOW_AUTH_ADMIN_USERNAME:-admin}"
export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# A store of files that is away is an error within seconds, so that clients hear of it in time.
export AWS_MAX_ATTEMPTS="${AWS_MAX_ATTEMPTS:-2}"

exec "${PYTHON:-python3}" -m mlflow server --app-name basic-auth --serve-artifacts \
    --host "${HOST:-127.0.0.1}" --port "${PORT:-5000}" --workers "${WORKERS:-2}"
