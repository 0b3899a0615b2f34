# Usage: sh browser.sh <folder>
#
# Reads the process group of chromedriver and of the browsers that it starts. At the end of its input, which is the end of the
# process that holds the other side, it kills the group and removes <folder>, where the browsers keep their profiles.
read -r group
while read -r _; do :; done
kill -s KILL -- "-$group"
rm -rf "$1" || rm -rf "$1"
