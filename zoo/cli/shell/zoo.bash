# Completion of `zoo`, written by `zoo completion bash --install`, which replaces it; --uninstall removes it.

_zoo_completion() {
    local type value help paths=
    COMPREPLY=()
    while IFS=$'\t' read -r type value help; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file | dir) paths=$type ;;
        esac
    done < <(_ZOO_COMPLETE=bash_complete _ZOO_LINE=${COMP_LINE:0:COMP_POINT} _ZOO_BREAKS=$COMP_WORDBREAKS \
        "${1/#\~\//$HOME/}" 2>/dev/null)

    if [[ $paths && ${#COMPREPLY[@]} -eq 0 ]]; then
        # readline knows tildes and quotes
        if [[ $paths == dir ]]; then compopt -o dirnames; else compopt -o default; fi
    elif [[ $paths ]]; then
        while IFS= read -r value; do
            [[ $value != .* ]] || continue
            [[ ! -d $value ]] || value+=/
            printf -v value %q "$value"
            COMPREPLY+=("$value")
        done < <(if [[ $paths == dir ]]; then compgen -d -- "$2"; else compgen -f -- "$2"; fi)
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && $COMPREPLY == *[=:/] ]]; then compopt -o nospace; fi
} 2>/dev/null

complete -o nosort -F _zoo_completion zoo 2>/dev/null || complete -F _zoo_completion zoo
