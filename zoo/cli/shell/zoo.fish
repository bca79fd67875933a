# Completion of `zoo`, written by `zoo completion fish --install`, which replaces it; --uninstall removes it.

function __zoo_complete
    set -l command (string replace -r '^~/' "$HOME/" -- (commandline -opc)[1])
    set -l typed (commandline -ct)
    for line in (env _ZOO_COMPLETE=fish_complete _ZOO_LINE=(commandline -cp | string collect) $command 2>/dev/null)
        set -l parts (string split \t -- $line)
        set -l option (string match -r -- '^--[^=]+=' $typed)
        set -l path (string replace -- "$option" '' $typed)
        switch $parts[1]
            case plain
                printf '%s\t%s\n' $parts[2] "$parts[3]"
            case dir
                printf "$option%s\n" (__fish_complete_directories $path)
            case file
                printf "$option%s\n" (__fish_complete_path $path)
        end
    end
end

complete --command zoo --no-files --keep-order --arguments '(__zoo_complete)'
