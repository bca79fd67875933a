#compdef zoo
# Completion of `zoo`, written by `zoo completion zsh --install`, which replaces it; --uninstall removes it.

_zoo() {
    local type value help paths
    local -a whole parts
    while IFS=$'\t' read -r type value help; do
        case $type in
            plain)
                if [[ $value == *[=:/] ]]; then
                    parts+=("${value//:/\\:}${help:+:$help}")
                else
                    whole+=("${value//:/\\:}${help:+:$help}")
                fi ;;
            file | dir) paths=$type ;;
        esac
    done < <(_ZOO_COMPLETE=zsh_complete _ZOO_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \
        "${${(Q)words[1]}/#\~\//$HOME/}" 2>/dev/null)

    local found=1
    (( ! $#whole )) || { _describe -V zoo whole && found=0 }
    (( ! $#parts )) || { _describe -V zoo parts -S '' && found=0 }
    if [[ -n $paths ]]; then
        compset -P '--*='
        if [[ $paths == dir ]]; then _files -/; else _files; fi && found=0
    fi
    return found
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _zoo "$@"
else  # read by .zshrc: a later compinit finds it too
    typeset -U fpath
    fpath=("${${(%):-%x}:A:h}" $fpath)
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _zoo zoo
fi
