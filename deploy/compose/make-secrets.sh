#!/bin/sh
# Makes secrets that nobody else has, in ./secrets. What is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
# Containers read these files as they are here, and presence is user 10001 in them: the folder keeps others out.
chmod 700 secrets
for name in admin-token database-password one-and-two; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
done
printf 'postgres://presence:%s@postgres/presence' "$(cat secrets/database-password)" >secrets/database-url
chmod 644 secrets/*
