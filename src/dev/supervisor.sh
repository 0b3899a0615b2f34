# Usage: sh supervisor.sh <folder> <last signal> <program> [argument...]
#
# Runs <program> as the lines on its input say, and answers each with one line that begins with the same number:
#   <number> start [argument...]   starts it unless it runs               -> <number> started <pid>
#   <number> status                                                       -> <number> running | <number> ended
#   <number> stop <signal>         sends the signal and waits for the end -> <number> stopped
#   <number> signal <name> <pid>.. sends a signal to processes            -> <number> sent
# At the end of its input, which is the end of the process that holds the other side, it kills the program with
# <last signal> and removes <folder>. The program writes to <folder>/log.
folder=$1
last=$2
shift 2
cd "$folder" || exit 1
exec 2>>log
pid=

running() {
  # `jobs` makes the shell collect what has ended; without it a dead child still takes signals.
  jobs >/dev/null
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

end() {
  kill -s "$1" "$pid"
  # It may be paused, and its children with it, which would neither end nor let it end.
  children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
  kill -s CONT "$pid" $children
  wait "$pid"
  pid=
}

finish() {
  trap '' HUP INT TERM
  [ -z "$pid" ] || end "$last"
  cd /
  rm -rf "$folder" || rm -rf "$folder"
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
# Not ignored, which the program would inherit: the other side may be gone while an answer is written.
trap : PIPE

while read -r number word rest; do
  case $word in
  start)
    # Arguments here are options and numbers without blanks, so they may be split.
    if ! running; then
      "$@" $rest </dev/null >>log 2>&1 &
      pid=$!
    fi
    echo "$number started $pid"
    ;;
  status)
    if running; then echo "$number running"; else echo "$number ended"; fi
    ;;
  stop)
    end "$rest"
    echo "$number stopped"
    ;;
  signal)
    kill -s $rest
    echo "$number sent"
    ;;
  esac
done
