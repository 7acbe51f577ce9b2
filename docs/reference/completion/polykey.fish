# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_polykey_global_optspecs
    string join \n node-path= socket= o/output= json q/quiet v/verbose no-input color= h/help V/version
end

function __fish_polykey_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_polykey_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_polykey_using_subcommand
    set -l cmd (__fish_polykey_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c polykey -n "__fish_polykey_needs_command" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_needs_command" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_needs_command" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_needs_command" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_needs_command" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_needs_command" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_needs_command" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_needs_command" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_needs_command" -s V -l version -d 'Print version'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "init" -d 'Make this device\'s identity and the vault `personal`'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "get" -d 'Print a secret: exactly its bytes'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "set" -d 'Write a secret that is typed, piped or in a file'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "ls" -d 'List vaults, or the secrets of one'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "list" -d 'List vaults, or the secrets of one'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "rm" -d 'Remove secrets; older versions keep them'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "log" -d 'Versions of a vault or of one secret'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "diff" -d 'What differs between versions: names, or values with -r'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "restore" -d 'Make an old version of a secret or folder the newest'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "share" -d 'Let another device or cluster use a vault'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "unshare" -d 'Take a vault back from a device or cluster'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "peer" -d 'Who may connect, and where to dial'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "vault" -d 'Make, list and name vaults'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "key" -d 'The key that this device is known by'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "status" -d 'One screen: this device, its vaults and its peers'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "agent" -d 'Start and stop the agent, which holds the unlocked identity'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "completion" -d 'Print a completion script for a shell'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "man" -d 'Print the manual page, or write all of them'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "version" -d 'Print the version of this program'
complete -c polykey -n "__fish_polykey_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand init" -l recovery-code-to -d 'Write the 24 words to a new file of mode 0600 instead of showing them; needed without a terminal' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand init" -l recovery-code-file -d 'Restore the identity of the 24 words in FILE' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand init" -l password-file -d 'Read the password from FILE (one newline at its end is left away)' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand init" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand init" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand init" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand init" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand init" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand init" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand init" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand init" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand get" -l to -d 'Write the value to a file of mode 0600 instead' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand get" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand get" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand get" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand get" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand get" -l no-newline -d 'Print no newline after the value on a terminal'
complete -c polykey -n "__fish_polykey_using_subcommand get" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand get" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand get" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand get" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand set" -l from -d 'Read the value from a file; - is standard input' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand set" -l mode -d 'File mode in pods, octal' -r
complete -c polykey -n "__fish_polykey_using_subcommand set" -l if-version -d 'Write only if the vault is still at this version' -r
complete -c polykey -n "__fish_polykey_using_subcommand set" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand set" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand set" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand set" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand set" -l trim-newline -d 'Leave one newline at the end of the value away'
complete -c polykey -n "__fish_polykey_using_subcommand set" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand set" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand set" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand set" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand set" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand ls" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand ls" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand ls" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand ls" -s R -l recursive -d 'Everything below, not only one level (documents for programs always hold everything)'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand list" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand list" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand list" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand list" -s R -l recursive -d 'Everything below, not only one level (documents for programs always hold everything)'
complete -c polykey -n "__fish_polykey_using_subcommand list" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand list" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand list" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand list" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand rm" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand rm" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s r -l recursive -d 'Everything below a folder'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s y -l yes -d 'Do not ask'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand log" -l limit -d 'At most so many versions' -r
complete -c polykey -n "__fish_polykey_using_subcommand log" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand log" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand log" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand log" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand log" -s w -l watch -d 'Go on, and print each version that comes'
complete -c polykey -n "__fish_polykey_using_subcommand log" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand log" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand log" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand log" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand diff" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand diff" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand diff" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand diff" -s r -l reveal -d 'Show values'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand restore" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand restore" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand restore" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand restore" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand share" -l expires -d 'Ends by itself after this time: 90m, 12h, 30d, 2w' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l siblings -d 'It may bring in so many more nodes of its own, such as the other replicas of a cluster' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l namespace -d 'A cluster may hand it to pods of this namespace only (repeatable)' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l service-account -d 'A cluster may hand it to pods of this ServiceAccount only (repeatable)' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l path -d 'A cluster may hand out this path only (repeatable)' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l cluster -d 'Only this cluster: the uid of its kube-system namespace' -r
complete -c polykey -n "__fish_polykey_using_subcommand share" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand share" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand share" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand share" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand share" -l write -d 'It may write, too'
complete -c polykey -n "__fish_polykey_using_subcommand share" -l owner -d 'It may decide who else may use it, too'
complete -c polykey -n "__fish_polykey_using_subcommand share" -l mirror -d 'It only carries the ciphertext for others and can read nothing'
complete -c polykey -n "__fish_polykey_using_subcommand share" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand share" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand share" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand share" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand share" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand share" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand unshare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -f -a "add" -d 'Let a node connect, and dial it where an address is given'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -f -a "ls" -d 'List peers and their connections'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -f -a "list" -d 'List peers and their connections'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -f -a "rm" -d 'Dial a node no longer'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and not __fish_seen_subcommand_from add ls list rm help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "add" -d 'Let a node connect, and dial it where an address is given'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List peers and their connections'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Dial a node no longer'
complete -c polykey -n "__fish_polykey_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "create" -d 'Make an empty vault that this device owns'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "ls" -d 'List vaults'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "list" -d 'List vaults'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "members" -d 'Who has a vault, and what they may do'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "recover" -d 'Take a vault back from a thief, with the words of the device that made it'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "resign" -d 'Give up the words that could take a vault back, for good'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "prune" -d 'Let go of the contents of old versions, here and on every other device'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "conflicts" -d 'Secrets with several values that were written apart, side by side'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "rename" -d 'Give a vault another name on this device'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and not __fish_seen_subcommand_from create ls list members recover resign prune conflicts rename help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from members" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l before -d 'The first version that is not to be believed, or a time (versions bear the date that their author gave them)' -r
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l recovery-code-file -d 'Read the 24 words from FILE instead of asking for them' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l password-file -d 'Read the password from FILE (one newline at its end is left away)' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l key-file -d 'The key file that this device is unlocked with' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l recovery-code-file -d 'Read the 24 words from FILE instead of asking for them' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s y -l yes -d 'Do not ask'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from resign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l keep -d 'Keep this version and all newer ones [default: the newest alone]' -r
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l older -d 'Keep what is newer than this: 90m, 12h, 30d, 2w' -r
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s y -l yes -d 'Do not ask'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from conflicts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from rename" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make an empty vault that this device owns'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List vaults'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "members" -d 'Who has a vault, and what they may do'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "recover" -d 'Take a vault back from a thief, with the words of the device that made it'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "resign" -d 'Give up the words that could take a vault back, for good'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Let go of the contents of old versions, here and on every other device'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "conflicts" -d 'Secrets with several values that were written apart, side by side'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "rename" -d 'Give a vault another name on this device'
complete -c polykey -n "__fish_polykey_using_subcommand vault; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -f -a "rotate" -d 'Give this device another key, and so another id'
complete -c polykey -n "__fish_polykey_using_subcommand key; and not __fish_seen_subcommand_from rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l password-file -d 'Read the password from FILE (one newline at its end is left away)' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l key-file -d 'The key file that this device is unlocked with' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s y -l yes -d 'Do not ask'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s n -l dry-run -d 'Say what would be done, and do nothing'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Give this device another key, and so another id'
complete -c polykey -n "__fish_polykey_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand status" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand status" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand status" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand status" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand status" -l check -d 'End with 7 when something needs a look'
complete -c polykey -n "__fish_polykey_using_subcommand status" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand status" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand status" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand status" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -f -a "start" -d 'Unlock the identity and serve it until stopped'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -f -a "stop" -d 'Stop the agent; acknowledged writes are on disk'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -f -a "status" -d 'Is the agent running? (ends with 5 if not)'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and not __fish_seen_subcommand_from start stop status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l password-file -d 'Read the password from FILE (one newline at its end is left away)' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l key-file -d 'Unlock with the bytes of FILE (32 or more, random) instead of a password' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l spare-ms -d 'Spare what no version needs for so many milliseconds before it is removed (to test that it is)' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l author-rate -d 'Versions of one author in one vault that are taken from peers a second; what is beyond waits' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l listen -d 'UDP address for peers' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l api-listen -d 'TCP address for workloads and the operator (TLS); off unless given' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l probe-listen -d 'TCP address for probes and metrics (plain HTTP); off unless given' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l audience -d 'The one audience that a workload\'s token must have' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l issuer -d 'Issuer of tokens [default: that of this pod\'s own token]' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l jwks-url -d 'Where the issuer\'s keys are [default: the API server\'s]' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l review-url -d 'Where tokens are reviewed [default: the API server\'s]' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l review -d '`off` accepts tokens on their signature alone' -r -f -a "on\t'By TokenReview'
off\t'By their signature alone'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l kube-ca-file -d 'Certificate authority of the API server' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l kube-token-file -d 'This pod\'s own token' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l operator-subject -d 'Who may read consumers and vaults: NAMESPACE:SERVICEACCOUNT of the operator' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l pod-name -d 'Name of this pod' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l peers-domain -d 'Domain of the headless Service of the nodes' -r
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l background -d 'Return when the agent answers; it goes on by itself, its log in the node path'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l detached -d 'Leave the session of the terminal (set by --background for itself)'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l init -d 'With --key-file: make a new identity if there is none'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l only-copy -d 'This is the only copy of the node that is left: write again after another was found'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l move-store -d 'Take a volume that a pod of another name made; never run both'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from help" -f -a "start" -d 'Unlock the identity and serve it until stopped'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from help" -f -a "stop" -d 'Stop the agent; acknowledged writes are on disk'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from help" -f -a "status" -d 'Is the agent running? (ends with 5 if not)'
complete -c polykey -n "__fish_polykey_using_subcommand agent; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand completion" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand completion" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand completion" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand completion" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand completion" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand completion" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand completion" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand completion" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand completion" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand man" -l dir -d 'Write one page a command into this folder' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand man" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand man" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand man" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand man" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand man" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand man" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand man" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand man" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand version" -l node-path -d 'Where the identity and its store are [default: $XDG_DATA_HOME/polykey]' -r -f -a "(__fish_complete_directories)"
complete -c polykey -n "__fish_polykey_using_subcommand version" -l socket -d 'Unix socket of the agent [default: made from the node path]' -r -F
complete -c polykey -n "__fish_polykey_using_subcommand version" -s o -l output -d 'Form of what is printed' -r -f -a "table\t'A table on a terminal; fields between tabs, without a header, in a pipe'
wide\t'The same with ids whole'
json\t'One JSON document'
jsonl\t'One JSON document a line'
yaml\t'One YAML document'
name\t'Names alone, one a line'"
complete -c polykey -n "__fish_polykey_using_subcommand version" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c polykey -n "__fish_polykey_using_subcommand version" -l json -d 'The same as -o json'
complete -c polykey -n "__fish_polykey_using_subcommand version" -s q -l quiet -d 'Print only what was asked for, and errors'
complete -c polykey -n "__fish_polykey_using_subcommand version" -s v -l verbose -d 'Print more: ids whole'
complete -c polykey -n "__fish_polykey_using_subcommand version" -l no-input -d 'Never ask; fail where a person would be needed'
complete -c polykey -n "__fish_polykey_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "init" -d 'Make this device\'s identity and the vault `personal`'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "get" -d 'Print a secret: exactly its bytes'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "set" -d 'Write a secret that is typed, piped or in a file'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "ls" -d 'List vaults, or the secrets of one'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "rm" -d 'Remove secrets; older versions keep them'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "log" -d 'Versions of a vault or of one secret'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "diff" -d 'What differs between versions: names, or values with -r'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "restore" -d 'Make an old version of a secret or folder the newest'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "share" -d 'Let another device or cluster use a vault'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "unshare" -d 'Take a vault back from a device or cluster'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "peer" -d 'Who may connect, and where to dial'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "vault" -d 'Make, list and name vaults'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "key" -d 'The key that this device is known by'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "status" -d 'One screen: this device, its vaults and its peers'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "agent" -d 'Start and stop the agent, which holds the unlocked identity'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "completion" -d 'Print a completion script for a shell'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "man" -d 'Print the manual page, or write all of them'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "version" -d 'Print the version of this program'
complete -c polykey -n "__fish_polykey_using_subcommand help; and not __fish_seen_subcommand_from init get set ls rm log diff restore share unshare peer vault key status agent completion man version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "add" -d 'Let a node connect, and dial it where an address is given'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "ls" -d 'List peers and their connections'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "rm" -d 'Dial a node no longer'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "create" -d 'Make an empty vault that this device owns'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "ls" -d 'List vaults'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "members" -d 'Who has a vault, and what they may do'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "recover" -d 'Take a vault back from a thief, with the words of the device that made it'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "resign" -d 'Give up the words that could take a vault back, for good'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "prune" -d 'Let go of the contents of old versions, here and on every other device'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "conflicts" -d 'Secrets with several values that were written apart, side by side'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from vault" -f -a "rename" -d 'Give a vault another name on this device'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rotate" -d 'Give this device another key, and so another id'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from agent" -f -a "start" -d 'Unlock the identity and serve it until stopped'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from agent" -f -a "stop" -d 'Stop the agent; acknowledged writes are on disk'
complete -c polykey -n "__fish_polykey_using_subcommand help; and __fish_seen_subcommand_from agent" -f -a "status" -d 'Is the agent running? (ends with 5 if not)'
