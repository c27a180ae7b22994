#!/bin/sh
# Plays the story of the example into a new git repository: replay.sh FOLDER [fix]
#
# `main` holds the ledger. The branch `retry-budget` is the change under judgement; it was never pushed.
# With `fix`, the developer's answer follows: the credentials are revoked first (they are made up, so there is
# nothing to do), the unpushed branch is squashed so that no commit holds them any more, and fix.patch is applied.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
code=$here/../payments-api
target=$1
step=${2:-}

commit() { # WHEN NAME MESSAGE
    git add -A
    GIT_AUTHOR_DATE=$1 GIT_COMMITTER_DATE=$1 \
    GIT_AUTHOR_NAME=$2 GIT_COMMITTER_NAME=$2 \
    GIT_AUTHOR_EMAIL=$(echo "$2" | tr 'A-Z ' 'a-z.')@payments.example \
    GIT_COMMITTER_EMAIL=$(echo "$2" | tr 'A-Z ' 'a-z.')@payments.example \
    git -c commit.gpgsign=false -c core.hooksPath=/dev/null commit --quiet -m "$3"
}
take() { # PATH… : copy from the example
    for path in "$@"; do
        mkdir -p "$(dirname "$path")"
        if [ -d "$code/$path" ]; then
            mkdir -p "$path"
            cp -R "$code/$path/." "$path"
        else
            cp "$code/$path" "$path"
        fi
    done
}

if [ "$step" != fix ]; then
    mkdir "$target"
    cd "$target"
    git init --quiet --initial-branch=main .
    take .gitignore README.md writ.toml payments/__init__.py payments/money.py payments/ledger.py \
        tests/__init__.py tests/test_ledger.py
    commit 2026-11-16T09:12:00+0000 "Ada Dev" "Book payments in a double-entry ledger"
    git checkout --quiet -b retry-budget
    take payments/retry.py payments/settlement.py tests/test_settlement.py
    cp "$here/env.staging" .env.staging
    commit 2026-11-19T10:03:00+0000 "Ada Dev" "Settle batches within a retry budget"
    take payments requirements.in requirements.txt requirements-dev.txt scripts
    rm .env.staging
    commit 2026-11-20T15:41:00+0000 "Ada Dev" "Serve payments over HTTP and pay out through the bank"
    take Dockerfile .dockerignore image deploy
    commit 2026-11-21T08:30:00+0000 "Bo Ops" "Package and deploy the service"
else
    cd "$target"
    git update-index -q --refresh || true
    git apply --index --check "$here/fix.patch"
    git reset --quiet --soft main
    git apply --index "$here/fix.patch"
    commit 2026-11-21T13:20:00+0000 "Ada Dev" "Settle batches within a retry budget, safely"
fi
