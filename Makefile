# make        builds ./more            make run    trains and compares reward models on the shipped data (minutes)
# make test   runs every test          make study  the full comparison, resumable (an hour)
# make align  a judge and six policies, compared on test prompts (minutes)
#
# What make does, `cc -O2 more.c -o more -lm` can do too, on one thread; the numbers are the same.
CFLAGS ?= -O2
LDLIBS  = -lm

# OpenMP for the compilers that have it; the results do not depend on it
ifneq (,$(shell printf 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o /dev/null 2>/dev/null && echo yes))
OPENMP ?= -fopenmp
endif

SRC   = more.c $(filter-out more.c,$(wildcard *.c commands/*.c files/*.c)) $(wildcard *.h)
TESTS = $(patsubst test/%.c,test/bin/%,$(wildcard test/test_*.c))

more: $(SRC)
	$(CC) -std=c11 $(CFLAGS) -Wall -Wextra $(OPENMP) more.c -o $@ $(LDLIBS)

test/bin/%: test/%.c test/test.h $(SRC)
	@mkdir -p test/bin
	$(CC) -std=c11 $(CFLAGS) -Wall -Wextra $(OPENMP) $< -o $@ $(LDLIBS)

.PHONY: run align study test clean
run: more
	sh scripts/run.sh

align: more
	sh scripts/align.sh

study: more
	sh scripts/study.sh $(MORE_DATA)

test: more $(TESTS)
	sh test/run.sh $(TESTS)

clean:
	rm -rf more test/bin
