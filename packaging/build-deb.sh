#!/usr/bin/env bash
# Builds the agent's Debian package from a binary and a folder of signed detectors. The same inputs give the same bytes.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: build-deb.sh --binary PATH --detectors DIR --out DIR [--version VERSION] [--compression KIND]

  --binary PATH       the vedette-agent to ship
  --detectors DIR     signed pairs to ship (NAME.wasm, .cwasm, .json, .sig); their authors become trusted keys
  --out DIR           where vedette-agent_VERSION_ARCH.deb goes; created if missing
  --version VERSION   instead of the workspace's
  --compression KIND  xz (default; every dpkg since Debian 11 reads it), gzip or none

SOURCE_DATE_EPOCH is respected; without it the time of the last commit counts. Prints the package's path.
USAGE
}

fail() {
    echo "build-deb.sh: $1" >&2
    exit "${2:-1}"
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
binary='' detectors='' out='' version='' compression=xz
while [ $# -gt 0 ]; do
    case "$1" in
    --binary) binary="${2:-}" ;;
    --detectors) detectors="${2:-}" ;;
    --out) out="${2:-}" ;;
    --version) version="${2:-}" ;;
    --compression) compression="${2:-}" ;;
    --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    [ $# -ge 2 ] || fail "$1 needs a value" 2
    shift 2
done
[ -n "$binary" ] && [ -n "$detectors" ] && [ -n "$out" ] || { usage >&2 && exit 2; }
[ -x "$binary" ] || fail "no executable at $binary"
[ -d "$detectors" ] || fail "no folder at $detectors"
command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing: apt-get install dpkg"

: "${version:=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")}"
[ -n "$version" ] || fail "the workspace names no version"
: "${SOURCE_DATE_EPOCH:=$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
architecture="$(dpkg --print-architecture)"

umask 022
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT
tree="$stage/tree"

put() { # mode, source, target
    install -D -m "$1" "$2" "$tree/$3"
}

# Keys of the detectors' authors, as a TOML list's content.
author_keys() {
    find "$detectors" -maxdepth 1 -name '*.sig' -exec cut -d' ' -f1 {} + | sort -u | sed 's/.*/"&"/' | paste -sd, | sed 's/,/, /g'
}

put 0755 "$binary" usr/bin/vedette-agent
while IFS= read -r -d '' file; do
    put 0644 "$file" "usr/lib/vedette/detectors/$(basename "$file")"
done < <(find "$detectors" -maxdepth 1 -type f \( -name '*.wasm' -o -name '*.cwasm' -o -name '*.json' -o -name '*.sig' \) -print0)
sed "s/@AUTHOR_KEYS@/$(author_keys)/" "$here/agent.toml.in" >"$stage/agent.toml"
put 0640 "$stage/agent.toml" etc/vedette/agent.toml
chmod 0750 "$tree/etc/vedette"
put 0644 "$here/vedette-agent.default" etc/default/vedette-agent
put 0644 "$here/vedette-agent.service" usr/lib/systemd/system/vedette-agent.service
put 0644 "$here/vedette-agent.preset" usr/lib/systemd/system-preset/50-vedette-agent.preset
put 0644 "$here/vedette-agent.sysusers" usr/lib/sysusers.d/vedette-agent.conf
put 0644 "$here/vedette-agent.tmpfiles" usr/lib/tmpfiles.d/vedette-agent.conf
put 0644 "$here/deb/README.md" usr/share/doc/vedette-agent/README.md
put 0644 "$here/deb/copyright" usr/share/doc/vedette-agent/copyright

# The newest symbol version that the binary wants is the oldest C library that it runs with.
glibc="$(LC_ALL=C grep -aoE 'GLIBC_2\.[0-9]+' "$binary" | sort -uV | tail -n 1 | cut -d_ -f2 || true)"
depends=''
[ -z "$glibc" ] || depends="Depends: libc6 (>= $glibc), libgcc-s1\\n"
installed_kib="$(find "$tree" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib + 0 }')"

mkdir "$tree/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@INSTALLED_KIB@/$installed_kib/" \
    -e "s/@DEPENDS@/$depends/" "$here/deb/control.in" >"$tree/DEBIAN/control"
put 0644 "$here/deb/conffiles" DEBIAN/conffiles
for script in postinst prerm postrm; do
    put 0755 "$here/deb/$script" "DEBIAN/$script"
done
(cd "$tree" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) >"$stage/md5sums"
put 0644 "$stage/md5sums" DEBIAN/md5sums
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
package="$out/vedette-agent_${version}_${architecture}.deb"
dpkg-deb --root-owner-group "-Z$compression" --build "$tree" "$package" >/dev/null
echo "$package"
