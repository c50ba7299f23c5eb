/*
 * park.pml - the parking protocol of src-native/linux/park.c, for SPIN
 *
 * Each inline has the name of the function that it models, and after each step, behind an equals sign, comes the
 * operation of that function which the step stands for. test/evidence/model.test.ts compares these with the source,
 * checks the properties over all interleavings, and checks that each line of the protocol that matters is needed for a
 * property.
 *
 * At any moment a task may create another, exit, block the signal for any time (as an exiting thread does, or one in an
 * uninterruptible wait), install a handler for the signal, get glibc's own signal, get one that another process has forged
 * with any content, and be killed by a seccomp filter at a system call of the handler. A listing may miss any task. Each time
 * limit is a choice, so nothing depends on how fast a thread is.
 *
 * Not in the model: weaker memory orders (each atomic operation of park.c is sequentially consistent), a task number that is
 * used again within one try, and a futex wait that ends without a cause (each is in a loop). The slots are counted in one step:
 * their flags only rise, so a count that takes longer is one that was right at some moment of it.
 */
#ifndef TASKS
#define TASKS 4 /* task 0 is the coordinator */
#define BORN 3  /* these exist from the beginning */
#define TRIES 2
#define FORGED 1
#define KILLED 1
#define MAY_INSTALL 1
#define MAY_MISS 1
#define CALLS 2
#endif

/* The time limit of a try. Where it is to come at last, a process of its own brings it. */
#ifdef FAIR
#define TIME_IS_UP late
#else
#define TIME_IS_UP true
#endif

mtype:order = { STAY, APPLY, LEAVE };
mtype:life = { UNBORN, ALIVE, EXITING, GONE };
mtype:action = { UNKNOWN, DEFAULT, FOREIGN, OURS, IGNORE, INSTALLED };
mtype:outcome = { UNDECIDED, REFUSED, DONE, ENDED };

/* park.c: what a thread meets in the handler */
byte generation, inside, done, serial;
mtype:order order = STAY;

/* park.c: the tables, one a try. `table` is the one that table.slots points to. */
byte table, count; /* a table that is too small comes to the same as no time left */
#define CAPACITY TASKS
#define REJECTED (TASKS + 1)
#define ANY (TRIES + 1)
bool mapped[TRIES + 1];
#define SLOT(which, index) (((which) - 1) * TASKS + (index))
byte slot_tid[TRIES * TASKS];
bool parked[TRIES * TASKS], described[TRIES * TASKS], applied[TRIES * TASKS];

/* the kernel */
mtype:life life[TASKS] = UNBORN;
bool changed[TASKS]; /* the task has the new credentials */
bool asleep[TASKS];  /* in futex(2), on `order` */
chan pending[TASKS] = [TRIES] of { byte, byte }; /* generation, index */
mtype:action action = DEFAULT, foreign = UNKNOWN;
byte unborn = BORN, forged = FORGED, killed = KILLED;
bool installed; /* a thread has installed a handler */

/* what the properties are about */
mtype:outcome outcome = UNDECIDED;
bool crossed, released; /* the line, the release */
bool in_park[TASKS], stands[TASKS]; /* in park(); it has said that it is */
byte dead; /* tasks that were killed in the handler */
bool trying, late; /* the time limit of a try */

/* Never true: they make SPIN name the property that is lost. */
hidden byte P_exact, P_still, P_table, P_unchanged, P_own, P_handler, P_cause;
#define PROMISE(property, condition) assert((condition) || P_##property)

#if TASKS == 3
#define EACH(p, and) (p(0) and p(1) and p(2))
#elif TASKS == 4
#define EACH(p, and) (p(0) and p(1) and p(2) and p(3))
#else
#define EACH(p, and) (p(0) and p(1) and p(2) and p(3) and p(4))
#endif
#define LISTED(t) (life[t] == ALIVE || life[t] == EXITING)
#define IS_CHANGED(t) (changed[t] || life[t] != ALIVE)
#define IS_UNCHANGED(t) (!changed[t] || life[t] != ALIVE)
#define IS_PARKED(t) (t == 0 || stands[t] || life[t] != ALIVE)
#define IS_ELSEWHERE(t) (!in_park[t])
#define COUNTED(t) (LISTED(t) -> 1 : 0)
#define TOTAL EACH(COUNTED, +)
#define ALL_CHANGED EACH(IS_CHANGED, &&)
#define ALL_UNCHANGED EACH(IS_UNCHANGED, &&)
#define ALL_PARKED EACH(IS_PARKED, &&)
#define NONE_PARKED EACH(IS_ELSEWHERE, &&)

/* A task is about to run code that is not the handler's. */
inline runs()
{
	PROMISE(still, !crossed || released);
	PROMISE(exact, !crossed || ALL_CHANGED);
}

inline touch(which)
{
	PROMISE(table, mapped[which]);
}

/* ---- in the handler, on every thread but the coordinator ---- */

inline count_me()
{
	done++; /* = if; atomic_fetch_add(&done, 1); atomic_load(&awaited); futex_wake_all(&done) */
}

inline stay_while(present)
{
	do /* = while */
	:: order != present -> break /* = atomic_load(&order) */
	:: atomic { order == present -> asleep[me] = true }; /* = futex_wait(&order, present, 0) */
		if
		:: !asleep[me]
		:: atomic { killed > 0 -> goto dies }
		:: outcome == ENDED -> goto gone
		fi
	od
}

inline apply_here()
{
	if
	:: atomic { PROMISE(unchanged, crossed && !released); changed[me] = true }
	:: atomic { killed > 0 -> goto dies }
	fi;
	atomic {
		touch(mine);
		applied[SLOT(mine, index)] = true /* = atomic_store(&slot->applied, slot->securebits >= 0) */
	}
}

inline introduce()
{
	if
	:: d_step {
		touch(mine);
		PROMISE(own, slot_tid[SLOT(mine, index)] == me);
		described[SLOT(mine, index)] = true }
	:: atomic { killed > 0 -> goto dies }
	fi;
	d_step {
		touch(mine);
		parked[SLOT(mine, index)] = true; /* = atomic_store(&slot->parked, true) */
		stands[me] = true
	}
}

inline park()
{
	introduce(); /* = introduce() */
	count_me(); /* = count_me() */
	stay_while(STAY); /* = stay_while() */
	if
	:: order == APPLY -> /* = if; atomic_load(&order) */
		apply_here(); /* = apply_here() */
		count_me(); /* = count_me() */
		stay_while(APPLY) /* = stay_while() */
	:: else
	fi
}

/* What another process has sent is chosen when it is looked at. */
inline choose_forged()
{
	if
	:: ticket == ANY -> select(ticket : 0 .. TRIES); select(index : 0 .. TASKS)
	:: else
	fi
}

inline on_signal()
{
	inside++; /* = if; atomic_fetch_add(&inside, 1) */
	atomic {
		choose_forged();
		if
		:: ticket != 0 && ticket == generation /* = if; atomic_load(&generation) */
		:: else -> index = REJECTED
		fi;
		ticket = 0
	}
	if
	:: index < CAPACITY ->
		atomic {
			touch(table);
			PROMISE(table, index < CAPACITY);
			if
			:: slot_tid[SLOT(table, index)] == me &&
			   !parked[SLOT(table, index)] -> /* = atomic_load(&table.slots[index].parked) */
				mine = table;
				in_park[me] = true
			:: else -> index = REJECTED
			fi
		}
	:: else
	fi;
	if
	:: index < CAPACITY -> park() /* = park() */
	:: else
	fi;
	atomic {
		inside--; /* = if; atomic_fetch_sub(&inside, 1); futex_wake_all(&inside) */
		in_park[me] = false;
		stands[me] = false;
		mine = 0;
		index = 0;
		runs()
	}
}

proctype task(byte me)
{
	byte ticket, index, mine;

end_unborn:
	life[me] == ALIVE;
end_running:
	do
	:: atomic { nempty(pending[me]) ->
		pending[me]?ticket,index;
		PROMISE(unchanged, action != DEFAULT);
		if
		:: action == OURS -> break
		:: else -> ticket = 0; index = 0 /* glibc and musl disregard it */
		fi }
	:: atomic { forged > 0 && action == OURS ->
		forged--;
		ticket = ANY;
		break }
	:: d_step { action == OURS -> PROMISE(handler, foreign != UNKNOWN) } /* SI_TKILL is handed on */
	:: life[me] == ALIVE /* its code goes on, and the signal is taken at any time or never */
	:: atomic { MAY_INSTALL && !installed -> installed = true; action = INSTALLED }
	:: atomic { unborn < TASKS ->
		life[unborn] = ALIVE;
		changed[unborn] = changed[me];
		unborn++ }
	:: life[me] = EXITING; goto gone
	od;
	on_signal();
	goto end_running;

dies:	atomic { killed--; dead++; in_park[me] = false; stands[me] = false; asleep[me] = false; life[me] = EXITING };
gone:	atomic {
		life[me] = GONE;
		do
		:: nempty(pending[me]) -> pending[me]?ticket,index
		:: empty(pending[me]) -> break
		od;
		ticket = 0; index = 0; mine = 0
	}
}

/* ---- on the coordinator ---- */

/* A task that is about to exit takes no signal any more. */
inline call_thread()
{
	if
	:: life[tid] == ALIVE -> pending[tid]!serial,slot /* = SYS_rt_tgsigqueueinfo */
	:: else
	fi
}

/* slot_of() */
inline find_slot()
{
	slot = 0;
	do
	:: slot < count && slot_tid[SLOT(table, slot)] != tid -> slot++
	:: else -> break
	od
}

inline call_task()
{
	atomic {
		tid < TASKS && LISTED(tid) ->
		find_slot();
		if
		:: slot == count -> /* = if */
			slot_tid[SLOT(table, slot)] = tid;
			count++;
			call_thread() /* = call_thread(); if; call_thread() */
		:: else
		fi
	}
	atomic {
		find_slot();
		if
		:: parked[SLOT(table, slot)] -> here++ /* = if; atomic_load(&slot->parked) */
		:: else
		fi;
		slot = 0;
		tid++
	}
}

inline await()
{
	skip /* = atomic_store(&awaited, wanted); while; atomic_load(&done); if; futex_wait(&done, seen, quiet_ms); atomic_load(&done) */
}

inline count_parked_threads(parked_slots)
{
	d_step {
		parked_slots = 0;
		slot = 0;
		do /* = for */
		:: slot < count -> parked_slots = parked_slots + parked[SLOT(table, slot)]; slot++ /* = atomic_load(&table.slots[i].parked) */
		:: else -> break
		od;
		slot = 0
	}
}

inline gather()
{
	do /* = for */
	:: TIME_IS_UP -> all = false; break
	:: !late ->
		count_parked_threads(present); /* = count_parked_threads() */
		counted = TOTAL; /* = count_tasks(table.tasks) */
		do /* = if; each_number(table.tasks, call_task, roll) */
		:: call_task()
		:: tid < TASKS && (MAY_MISS || !LISTED(tid)) -> tid++
		:: tid == TASKS -> break
		od;
		if
		:: here == present && counted == present && done == present -> /* = if; atomic_load(&done) */
			atomic {
				count_parked_threads(here); /* = count_parked_threads() */
				all = (here == present);
				if
				:: all -> PROMISE(still, ALL_PARKED); break
				:: else
				fi
			}
		:: else -> await() /* = await(); count_parked_threads() */
		fi;
		d_step { tid = 0; here = 0; present = 0; counted = 0 }
	od;
	atomic { tid = 0; here = 0; present = 0; counted = 0; trying = false; late = false }
}

inline map_table()
{
	atomic {
		table = serial + 1; /* = mmap */
		mapped[table] = true
	}
}

inline open_table()
{
	d_step {
		parked[SLOT(table, 0)] = true; /* = introduce() */
		described[SLOT(table, 0)] = true;
		count = 1;
		done = 1 /* = atomic_store(&done, 1) */
	}
	order = STAY; /* = atomic_store(&order, STAY) */
	d_step {
		serial++;
		generation = serial /* = atomic_store(&generation, table.generation) */
	}
}

inline take_park_signal()
{
	foreign = action; /* = if; signal_action(PARK_SIGNAL, NULL, &foreign_action) */
	d_step { foreign = action; action = OURS } /* = signal_action(PARK_SIGNAL, &ours, &foreign_action) */
}

/* rt_sigaction(2): what is pending of an ignored signal is discarded */
inline discard()
{
	do
	:: slot < TASKS && len(pending[slot]) > 0 -> pending[slot]?tid,here
	:: slot < TASKS && len(pending[slot]) == 0 -> slot++
	:: else -> break
	od;
	slot = 0;
	tid = 0;
	here = 0
}

inline replace_ours(by)
{
	d_step {
		replaced = action; /* = if; signal_action(PARK_SIGNAL, action, &replaced) */
		action = by;
		PROMISE(handler, replaced != INSTALLED || ALL_PARKED || !crossed);
		if
		:: by == IGNORE -> discard()
		:: else
		fi
	}
	if
	:: replaced == INSTALLED -> action = replaced /* = signal_action(PARK_SIGNAL, &replaced, NULL) */
	:: else
	fi
}

inline give_park_signal_back()
{
	replaced = OURS;
	if
	:: foreign == DEFAULT -> replace_ours(IGNORE) /* = if; replace_ours() */
	:: else
	fi;
	if
	:: replaced != INSTALLED -> replace_ours(foreign) /* = if; replace_ours() */
	:: else
	fi;
	d_step { replaced = UNKNOWN; foreign = UNKNOWN }
}

/* futex(2) */
inline wake()
{
	d_step {
		do
		:: slot < TASKS -> asleep[slot] = false; slot++
		:: else -> break
		od;
		slot = 0
	}
}

inline unmap()
{
	d_step {
		mapped[table] = false;
		do
		:: slot < TASKS ->
			slot_tid[SLOT(table, slot)] = 0;
			parked[SLOT(table, slot)] = false;
			described[SLOT(table, slot)] = false;
			applied[SLOT(table, slot)] = false;
			slot++
		:: else -> break
		od;
		slot = 0
	}
}

inline have_all_left()
{
	if
	:: inside == 0 -> left = true /* = for; atomic_load(&inside) */
	:: left = false /* = if; futex_wait(&inside, still, 10) */
	fi
}

inline release_every_thread()
{
	released = crossed;
	generation = 0; /* = atomic_store(&generation, 0) */
	order = LEAVE; /* = atomic_store(&order, LEAVE) */
	wake(); /* = futex_wake_all(&order) */
	have_all_left(); /* = if; have_all_left() */
	if
	:: left -> unmap() /* = munmap(table.slots, table.size) */
	:: else
	fi
}

inline park_every_thread()
{
	have_all_left(); /* = if; have_all_left() */
	do /* = for */
	:: left && serial < TRIES ->
		trying = true;
		map_table(); /* = if; count_tasks(tasks); map_table() */
		open_table(); /* = open_table() */
		gather(); /* = if; gather() */
		if
		:: all -> break
		:: else
		fi;
		release_every_thread(); /* = if; release_every_thread() */
		if
		:: !left -> break
		:: left /* = nanosleep(&pause, NULL) */
		fi
	:: all = false; break
	od
}

/* What else commit() refuses for is a choice. */
inline is_everyone_inside()
{
	if
	:: refused = true
	:: inside == count_parked - 1 -> refused = false /* = atomic_load(&inside); count_parked_threads() */
	fi
}

inline apply_in_every_thread()
{
	count_parked_threads(count_parked); /* = count_parked_threads() */
	done = 0; /* = atomic_store(&done, 0) */
	order = APPLY; /* = atomic_store(&order, APPLY) */
	wake(); /* = futex_wake_all(&order) */
	d_step { changed[0] = true; applied[SLOT(table, 0)] = true }; /* = apply_here() */
	if
	:: done >= count_parked - 1 /* = for; atomic_load(&done) */
	:: timed_out = true /* = await() */
	fi;
	do /* = for */
	:: slot < count ->
		if
		:: parked[SLOT(table, slot)] && !applied[SLOT(table, slot)] -> /* = if; atomic_load(&table.slots[i].parked); atomic_load(&table.slots[i].applied) */
			all = false; break
		:: else -> slot++
		fi
	:: else -> break
	od;
	slot = 0
}

/* ---- commit.c ---- */

#define IS_DESCRIBED(s) (!(s < count && parked[SLOT(table, s)]) || described[SLOT(table, s)])

proctype coordinator()
{
	byte calls = 1, present, counted, here, tid, slot, count_parked;
	bool all, left, refused, timed_out;
	mtype:action replaced = UNKNOWN;

	do
	:: take_park_signal();
		park_every_thread();
		refused = !all;
		if
		:: all ->
			count_parked_threads(count_parked);
			is_everyone_inside()
		:: else
		fi;
		if
		:: !refused ->
			d_step { crossed = true; PROMISE(still, ALL_PARKED); PROMISE(own, EACH(IS_DESCRIBED, &&)) };
			apply_in_every_thread();
			if
			:: !all -> PROMISE(cause, timed_out || dead > 0); outcome = ENDED; break
			:: else
			fi
		:: else
		fi;
		give_park_signal_back();
		if
		:: all -> release_every_thread()
		:: else
		fi;
		d_step {
			PROMISE(handler, !installed || action == INSTALLED);
			if
			:: refused ->
				PROMISE(unchanged, ALL_UNCHANGED);
				PROMISE(unchanged, !left || NONE_PARKED);
				outcome = REFUSED
			:: else -> outcome = DONE
			fi
		}
		if
		:: refused && calls < CALLS -> calls++; outcome = UNDECIDED
		:: break
		fi
	od
}

proctype clock()
{
end_clock:
	do
	:: trying && !late -> late = true
	:: else /* it never stops, so that whatever waits for ever is seen as a cycle */
	od
}

init
{
	byte t;

	atomic {
		if
		:: true -> action = DEFAULT
		:: MAY_INSTALL -> action = FOREIGN
		fi;
		for (t : 0 .. BORN - 1) {
			life[t] = ALIVE
		}
		for (t : 1 .. TASKS - 1) {
			run task(t)
		}
		run coordinator();
#ifdef FAIR
		run clock()
#endif
	}
}

ltl ends { <> [] (outcome != UNDECIDED && (outcome == ENDED || inside == dead)) }
