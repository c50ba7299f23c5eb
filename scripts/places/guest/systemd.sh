#!/bin/bash
# What scripts/places/systemd runs in the virtual machine, as root: each case is a line 'ok' or 'not ok'. The units are those of
# docs/systemd.md, which lie in /opt/places/units by the first line of their code.
cd /opt/places
N0=0000000000000000 BIND=0000000000000400
failed=0
useradd --system --no-create-home --shell /usr/sbin/nologin smtp
mkdir -p /var/spool/smtp
mkfifo -m 666 /srv/outcome
exec 3<>/srv/outcome

check() { # NAME FOUND PATTERN
  if [[ $2 =~ $3 ]]; then echo "ok - $1"; else
    echo "not ok - $1: wanted $3, found $2"
    failed=1
  fi
}
next() { # the next line that the server, or its end, says
  line='nothing'
  read -r -t 900 -u 3 line
  echo "$line"
}
# each thread of the server as root sees it, grouped by kind
threads() {
  cat "/proc/$(systemctl show --value -p MainPID smtp)"/task/*/status |
    awk '/^(Uid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):/ { line = line " " $2 } /^NoNewPrivs/ { print line; line = "" }' | sort -u
}
# UNIT DROP-IN... -- LINE...: the server with that unit, those drop-ins and lines
unit() {
  rm -rf /etc/systemd/system/smtp.service{,.d}
  while read -r -t 0 -u 3; do read -r -u 3; done # what an earlier case has left
  mkdir -p /etc/systemd/system/smtp.service.d
  cp "units/$1" /etc/systemd/system/smtp.service
  shift
  while [ "$1" != -- ]; do
    cp "units/$1" /etc/systemd/system/smtp.service.d/
    shift
  done
  shift
  printf '%s\n' '[Service]' 'ExecStopPost=+/bin/sh -c "echo ENDED $$SERVICE_RESULT $$EXIT_STATUS >/srv/outcome"' \
    "Environment='OPTIONS=$options'" "$@" >/etc/systemd/system/smtp.service.d/zz-test.conf
  systemctl daemon-reload
  systemctl reset-failed smtp 2>/dev/null
}
exact="^ $(id -u smtp) $N0 $BIND $BIND $BIND $N0 1\$"
ends() { # NAME: it is stopped
  systemctl stop smtp
  check "$1: stop" "$(next)" '^ENDED success'
}
done_by() { # NAME: it starts, and each thread is as asked
  systemctl start smtp
  check "$1" "$(next)" '^HARDENED'
  check "$1: each thread" "$(threads)" "$exact"
}
refused() { # NAME PATTERN: it starts, is refused and ends by itself
  systemctl start smtp 2>/dev/null
  check "$1" "$(next)" "$2"
  check "$1: its own end" "$(next)" '^ENDED exit-code 2'
}
valid() { # NAME FILE: nothing is to be said about it
  check "$1: systemd-analyze verify" "$(systemd-analyze verify --recursive-errors=no "/etc/systemd/system/$2" 2>&1 || echo wrong)" '^$'
}
exposure() { echo "exposure: $1: $(systemd-analyze security --no-pager smtp.service | tail -n 1)"; }

ROOT='smtp.service, started as root' PLAIN='smtp.service, never root'
as_root='{"user":"smtp","capabilities":"cap_net_bind_service+ep"}' as_user='{"capabilities":"cap_net_bind_service+ep"}'

units() {
  options=$as_root
  printf '[Service]\nExecStart=/usr/bin/node /opt/smtp/server.js\n' >units/alone
  unit alone --
  exposure 'ExecStart= alone'
  for unit in "$ROOT" "$PLAIN"; do
    [ "$unit" = "$ROOT" ] || options=$as_user
    unit "$unit" --
    valid "$unit" smtp.service
    exposure "$unit"
    done_by "$unit"
    check "$unit: the client" "$(cat </dev/tcp/127.0.0.1/25)" '^220 ready'
    systemctl reload smtp
    check "$unit: reload" "$(next)" '^LISTENING$'
    systemctl restart smtp
    check "$unit: restart ends it" "$(next)" '^ENDED success'
    check "$unit: restart" "$(next)" '^HARDENED'
    ends "$unit"
    for line in Type=exec $'Type=notify\nNotifyAccess=all' NoNewPrivileges=yes; do
      unit "$unit" -- "$line"
      done_by "$unit, ${line%%$'\n'*}"
      ends "$unit, ${line%%$'\n'*}"
    done
    for drop_in in filter.conf sandbox.conf; do
      unit "$unit" $drop_in --
      done_by "$unit, $drop_in"
      ends "$unit, $drop_in"
    done
    unit "$unit" filter.conf sandbox.conf --
    exposure "$unit, filter.conf and sandbox.conf"
    done_by "$unit, filter.conf and sandbox.conf"
    ends "$unit, filter.conf and sandbox.conf"
    unit "$unit" -- 'SystemCallFilter=@system-service @pkey'
    done_by "$unit, a filter that kills"
    ends "$unit, a filter that kills"
    for number in '' SystemCallErrorNumber=EPERM; do
      unit "$unit" -- 'SystemCallFilter=~kcmp' "$number"
      done_by "$unit, ~kcmp $number"
      ends "$unit, ~kcmp $number"
    done
  done
}

filters() {
  options=$as_user
  unit "$PLAIN" filter-never-root.conf sandbox.conf --
  exposure "$PLAIN, filter-never-root.conf and sandbox.conf"
  done_by "$PLAIN, filter-never-root.conf and sandbox.conf"
  ends "$PLAIN, filter-never-root.conf and sandbox.conf"
  for number in '' SystemCallErrorNumber=EPERM; do
    unit "$PLAIN" -- 'SystemCallFilter=@system-service @pkey' 'SystemCallFilter=~@privileged @resources' "$number"
    refused "$PLAIN, without capset $number" '^REFUSED ERR_HARDEN_NOT_PERMITTED capset .*SystemCallFilter=.*capset'
    unit "$PLAIN" -- 'SystemCallFilter=@system-service @pkey' 'SystemCallFilter=~@privileged @resources' SystemCallFilter=capset "$number"
    done_by "$PLAIN, with capset $number"
    ends "$PLAIN, with capset $number"
    options=$as_root
    unit "$ROOT" -- 'SystemCallFilter=~@privileged' "$number"
    refused "$ROOT, ~@privileged $number" '^REFUSED ERR_HARDEN_NOT_PERMITTED set(groups|resgid|resuid) '
    options=$as_user
  done
}

others() {
  options=$as_user
  # an account of that name would be used instead
  unit "$PLAIN" -- User=smtp-dynamic DynamicUser=yes
  systemctl start smtp
  check 'DynamicUser' "$(next)" '^HARDENED'
  check 'DynamicUser: each thread' "$(threads)" "^ 6[0-9]{4} $N0 $BIND $BIND $BIND $N0 1\$"
  ends 'DynamicUser'

  unit "$PLAIN" -- PrivateUsers=yes
  systemctl start smtp
  check 'PrivateUsers: listen(25)' "$(next)" '^LISTEN EACCES'
  next >/dev/null

  options='{}'
  cp units/smtp.socket /etc/systemd/system/smtp.socket
  unit "$PLAIN" socket.conf --
  valid 'socket' smtp.socket
  systemctl start smtp.socket
  check 'socket: the client' "$(cat </dev/tcp/127.0.0.1/25)" '^220 ready'
  check 'socket' "$(next)" '^HARDENED'
  check 'socket: each thread' "$(threads)" "^ $(id -u smtp) $N0 $N0 $N0 $N0 $N0 1\$"
  systemctl stop smtp.socket smtp
  next >/dev/null
}

confined() { # NAME: the server in this profile
  unit "$ROOT" -- "AppArmorProfile=$1"
  dmesg -C
}
profile() { # NAME RULE...: a profile of that name, loaded, and the server in it
  printf 'profile %s flags=(attach_disconnected) {\n  file,\n  network,\n  unix,\n  ptrace,\n  capability net_bind_service,\n  %s\n}\n' "$1" "${*:2}" |
    apparmor_parser -r || echo "not ok - apparmor_parser: $1"
  confined "$1"
}
denied() { dmesg | grep 'apparmor="DENIED"'; }
apparmor() {
  options=$as_root
  own='signal,' ids='capability setuid, capability setgid,'
  check 'AppArmor: the profile' "$(apparmor_parser -r units/profile 2>&1)" '^$'
  confined smtp
  done_by 'AppArmor'
  check 'AppArmor: the log' "$(denied)" '^$'
  ends 'AppArmor'
  profile no-setpcap $own $ids
  refused 'AppArmor without setpcap' '^REFUSED ERR_HARDEN_NOT_PERMITTED prctl '
  profile no-setuid $own capability setgid, capability setpcap,
  refused 'AppArmor without setuid' '^REFUSED ERR_HARDEN_NOT_PERMITTED setresuid '
  profile no-signal 'deny signal (send, receive) peer=no-signal, signal peer=unconfined,' $ids capability setpcap,
  refused 'AppArmor without signal' '^REFUSED ERR_HARDEN_THREAD_UNREACHABLE rt_tgsigqueueinfo .*(AppArmor|security module)'
}

contain() { # FLAG...: what the server in a container with these flags says
  podman --storage-driver vfs run --rm --network host --env "OPTIONS=$options" --env NODE_PATH=/opt/smtp/node_modules \
    --volume /srv/outcome:/srv/outcome "$@" --detach --name smtp --rootfs /srv/container /usr/bin/node /opt/smtp/server.js >/tmp/podman 2>&1 ||
    { echo "podman: $(tail -n 1 /tmp/podman)" >/srv/outcome; }
  next
}
in_container() {
  cat "/proc/$pid"/task/*/status |
    awk '/^(Uid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):/ { line = line " " $2 } /^Seccomp:/ { print line; line = "" }' | sort -u
}
podmans() {
  options=$as_root
  # a container on this very root: all of /usr, and /opt with the server
  mkdir -p /srv/container/{usr,opt,etc,proc,sys,dev,tmp,run,srv,var}
  mount --bind /srv/container /srv/container
  for folder in usr opt etc; do mount --bind /$folder /srv/container/$folder; done
  for folder in bin lib lib64 sbin; do ln -s usr/$folder /srv/container/$folder; done
  mkdir -p /etc/containers
  printf '[engine]\nno_pivot_root = true\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >/etc/containers/containers.conf
  four='--cap-drop all --cap-add SETUID --cap-add SETGID --cap-add SETPCAP --cap-add NET_BIND_SERVICE'
  for flags in "$four" "$four --security-opt no-new-privileges" "$four --read-only"; do
    check "podman $flags" "$(contain $flags)" '^HARDENED'
    pid=$(podman --storage-driver vfs inspect --format '{{.State.Pid}}' smtp)
    check "podman $flags: each thread" "$(in_container)" "^ $(id -u smtp) $N0 $BIND $BIND $BIND $N0 1 2\$"
    podman --storage-driver vfs rm --force --time 0 smtp >/dev/null 2>&1
  done
  check 'podman without SETUID' "$(contain --cap-drop all --cap-add SETGID --cap-add SETPCAP --cap-add NET_BIND_SERVICE)" '^REFUSED ERR_HARDEN_NOT_PERMITTED setresuid .*--cap-add SETUID'
}

for part in $(cat parts); do $part; done
echo "places: exit status $failed"
