#!/bin/sh
# Write docker/.env, the settings of compose.yaml. Once written, a password and a name stay.
#
#   sh docker/settings.sh [PROJECT]     # the folder with configs/ and data/; default: the repository
set -eu

docker=$(cd "$(dirname "$0")" && pwd -P)
file=$docker/.env
if ! [ -d "${1:-$docker}" ]; then
    echo "settings.sh: there is no folder $1" >&2
    exit 2
fi
project=$(cd "${1:-$docker/..}" && pwd -P)
kept() { sed -n "s/^$1=//p" "$file" 2>/dev/null || true; }

# The name keeps clones on one machine apart: their containers, images and volumes.
name=$(kept COMPOSE_PROJECT_NAME)
name=${name:-sequifier-hpo-$(printf %s "$docker" | cksum | cut -d ' ' -f 1)}
# The volume of the database remembers the password that it was made with.
password=$(kept POSTGRES_PASSWORD)
password=${password:-$(od -An -N 16 -t x1 /dev/urandom | tr -d ' \n')}

umask 077
cat > "$file.tmp" <<END
COMPOSE_PROJECT_NAME=$name
POSTGRES_PASSWORD=$password
PROJECT='$project'
UID=$(id -u)
GID=$(id -g)
END
mv "$file.tmp" "$file"
echo "$file: project $project, as Compose project $name"
