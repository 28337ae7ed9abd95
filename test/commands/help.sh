# help.sh - what help, the manual page and completion say of every command and option.
. "$(dirname "$0")/lib.sh"
ln -s "$root/data" "$root/NUMERICS.md" "$root/LICENSE" .
unset COLUMNS NO_COLOR

commands=$(./more --help | sed -n 's/^    more \(train [a-z-]*\|[a-z]*\) .*/\1/p' | tr ' ' _)
option_names() { sed -n 's/^    --\([a-z0-9_]*\).*/\1/p' "$1" | sort; }

# fits WIDTH FILE: no line is longer, but for one word behind spaces, and examples, whose options
# stay beside their values
fits() {
    awk -v width="$1" '
        /^  [a-z]/ { is_example = $1 == "example" }
        length > width && !is_example && !/^ *[^ ]+$/' "$2" > longer
    [ ! -s longer ] || fault "longer than $1: $(head -n 1 longer)"
}
words_of() { tr -s ' \n' '\n\n' < "$1" | grep -v '^\\$'; }

it "help_is_as_wide_as_COLUMNS_says_or_80_and_breaks_no_word"
for c in "" $commands; do
    command=$(echo $c | tr _ ' ')
    COLUMNS=500 works ./more $command --help
    words_of out > want
    for width in 30 79; do
        COLUMNS=$width works ./more $command --help
        fits $width out
        words_of out > have
        same want have
    done
done
works ./more eval --help
fits 80 out
COLUMNS=80 works ./more eval --help
cp out wide
for columns in 0 -3 wide ""; do
    COLUMNS=$columns works ./more eval --help
    same wide out
done

# of the last command: its example, which is the line behind the heading
example() { awk '/^  example$/ { getline; print; exit }' "$1"; }

it "every_command_has_an_example_whose_options_it_reads"
for c in $commands; do
    command=$(echo $c | tr _ ' ')
    COLUMNS=500 works ./more $command --help
    words=$(example out)
    case "$words" in
    "    ./more $command"*) ;;
    *) fault "$command: its example is $words" ;;
    esac
    touch drawn.jsonl
    sh -c "$words --help" > out 2> err || fault "$words: $(cat err)"
done

it "a_command_without_options_says_what_it_needs_with_the_example_of_its_help"
for c in $commands; do
    case $c in
    consistency | identify | selftest | gradcheck | bench | man) continue ;;      # need nothing
    esac
    command=$(echo $c | tr _ ' ')
    COLUMNS=500 works ./more $command --help
    example out > want
    COLUMNS=500 refused 64 "$command needs " ./more $command
    lines 3 err
    sed -n 2p err > have
    same want have
    lines 0 out
done

it "a_near_command_is_suggested"
refused 64 "evel: unknown command; see more --help (is it eval?)" ./more evel
refused 64 "train dpoo: unknown; more train lists what can be trained (is it dpo?)" \
    ./more train dpoo --model lm
refused 64 "frobnicate: unknown command; see more --help" ./more frobnicate
lacks err "is it"
refused 64 "evel --help: unknown command; see more --help (is it eval?)" ./more evel --help
refused 64 "train dpoo: unknown; more train lists what can be trained (is it dpo?)" \
    ./more train dpoo --model lm -h

# completed WORD...: what bash offers for the last word
completed() { bash -c '. ./more.bash
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _more
    printf "%s\n" "${COMPREPLY[@]}"' - ./more "$@" | sort; }
# zsh's functions of completion are made up: they say what they are given
completed_zsh() { zsh -f -c '
    _describe() { print -rl -- ${found%%:*} }
    _files() { print }
    compset() { : }
    words=("$@") CURRENT=$#
    . ./_more' - ./more "$@" | sort; }

it "shells_complete_the_commands_options_and_choices_of_the_tables"
works ./more completion zsh
cp out _more
works ./more completion bash
cp out more.bash
shells=
if command -v bash > /dev/null; then shells="completed"; fi
if command -v zsh > /dev/null; then shells="$shells completed_zsh"; fi
for c in $commands; do
    command=$(echo $c | tr _ ' ')
    works ./more $command --help
    option_names out | sed 's/^/--/' > want
    for complete in $shells; do
        $complete $command -- > have
        same want have
    done
done
for complete in $shells; do
    $complete train lm --over_length "" | tr '\n' ' ' > have
    echo "drop raise truncate " | tr -d '\n' > want
    same want have
    $complete completion "" | tr '\n' ' ' > have
    printf 'bash zsh ' > want
    same want have
    $complete "" | sort -u > have
    echo $commands | tr ' ' '\n' | sed 's/_.*//' | sort -u > want
    same want have
    $complete train "" | sort > have
    echo $commands | tr ' ' '\n' | sed -n 's/train_//p' | sort > want
    same want have
done
[ "$(completed ev)" = eval ] || fault "ev: $(completed ev)"
[ "$(completed train dpo --over_length = tr)" = truncate ] || fault "= tr"
refused 64 "--shell fish: unknown" ./more completion fish
refused 64 "a shell is needed: bash or zsh" ./more completion --quiet
lines 0 out

it "the_manual_page_has_every_command_and_option_and_nothing_to_warn_of"
works ./more man
cp out more.1
for c in $commands; do
    holds more.1 "^.SS more $(echo $c | sed 's/_/ /; s/-/\\\\-/g')\$"
done
for o in model train over_length seed help; do holds more.1 "^.B .-.-$o\$"; done
holds more.1 '^what verify or diff compared differs, or doctor found a trap$'
tr ' ' '\n' < more.bash | grep -- '^--[a-z_0-9]*$' | sort -u > all
counts $(($(wc -l < all))) more.1 '^.B .-.-'
if command -v man > /dev/null && man --version > /dev/null 2>&1; then
    man --warnings -l more.1 > out 2> err
    [ ! -s err ] || fault "man: $(head -n 3 err)"
fi
if command -v mandoc > /dev/null; then
    # the same program has the same page on every day
    mandoc -T lint more.1 2>&1 | grep -v 'missing date' > err
    [ ! -s err ] || fault "mandoc: $(head -n 3 err)"
fi

# on_terminal SETTING...: help as a terminal gets it
on_terminal() { env "$@" script -qec "./more eval --help" /dev/null < /dev/null > out; }

it "headings_are_bold_on_terminals_alone_that_show_it_and_whose_users_want_it"
escape=$(printf '\033')
works ./more eval --help
lacks out "$escape"
if script -qec true /dev/null < /dev/null > /dev/null 2>&1; then
    on_terminal TERM=xterm
    holds out "$escape\[1mdata$escape\[0m"
    on_terminal TERM=xterm NO_COLOR=
    holds out "$escape\[1mdata$escape\[0m"
    on_terminal TERM=xterm NO_COLOR=1
    lacks out "$escape"
    on_terminal TERM=dumb
    lacks out "$escape"
fi

it "make_install_puts_program_manual_and_completion_where_they_belong"
if command -v make > /dev/null; then
    works env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$root" -o more install \
        DESTDIR="$t/at" PREFIX=/usr PROGRAM=morec
    works at/usr/bin/morec --version
    holds at/usr/share/man/man1/morec.1 '^.SS morec eval$'
    holds at/usr/share/bash-completion/completions/morec '^complete .*-F _morec morec$'
    holds at/usr/share/zsh/site-functions/_morec '^#compdef morec$'
fi
finish
