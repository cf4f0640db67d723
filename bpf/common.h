/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs share: the maps, the way out of a record, and the two programs that most
 * functions are probed with. What they read from a function's arguments is described by
 * struct tk_function, so that no kernel header but ptrace.h is needed.
 */
#include <uapi/linux/ptrace.h>

struct tk_cpu {
	u32 seq;
	u32 zero;
	u64 lost; /* records that the BPF ring buffer had no room for */
	u64 page_crossings;
	u64 reader_swaps;
};

struct tk_call {
	u64 function;
	u32 tid;
	u32 zero;
};

struct tk_entered {
	u64 ns;
	u64 argument; /* the first one */
};

BPF_RINGBUF_OUTPUT(tk_records, TK_RING_PAGES);
BPF_PERCPU_ARRAY(tk_cpus, struct tk_cpu, 1);
BPF_TABLE("hash", u64, struct tk_function, tk_functions, 1024); /* by address */
BPF_TABLE("lru_hash", struct tk_call, struct tk_entered, tk_calls, 4096);
BPF_ARRAY(tk_down, u32, 1);	/* the task that takes the kernel down, else 0 */
BPF_ARRAY(tk_recorder, u32, 1); /* the process whose own control files are left out */

static inline u32 tk_going_down(void)
{
	int first = 0;
	u32 *tid = tk_down.lookup(&first);

	return tid ? *tid : 0;
}

static inline void tk_go_down(u32 tid)
{
	int first = 0;

	tk_down.update(&first, &tid);
}

static inline void tk_begin(struct tk_record *r, u16 kind)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->ns = bpf_ktime_get_ns();
	r->pid = (u32)bpf_get_current_pid_tgid();
	r->cpu = bpf_get_smp_processor_id();
	r->kind = kind;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
}

/* tracekit.probes.records.compact() is this line, parse_compact() its reader. */
static inline void tk_print(struct tk_record *r)
{
	char line[] = "tk1 %llx %llx %llx %llx %llx %llx %llx %llx %s|%s";
	/* clang-format off */
	u64 data[] = {
		r->kind, r->seq, r->ns, r->duration_ns,
		r->value[0], r->value[1], r->value[2], r->value[3],
		(u64)r->name, (u64)r->driver,
	};
	/* clang-format on */
	bpf_trace_vprintk(line, sizeof(line), data, sizeof(data));
}

static inline void tk_send(struct tk_record *r, int print)
{
	int first = 0;
	struct tk_cpu *cpu = tk_cpus.lookup(&first);

	if (!cpu)
		return;
	r->seq = cpu->seq++;
	if (tk_records.ringbuf_output(r, sizeof(*r), 0))
		cpu->lost++;
	if (print)
		tk_print(r);
}

static inline void tk_entered_at(u64 function, u64 ns, u64 argument)
{
	struct tk_call call = {.function = function, .tid = (u32)bpf_get_current_pid_tgid()};
	struct tk_entered entered = {.ns = ns, .argument = argument};

	tk_calls.update(&call, &entered);
}

/* When the call that returns now began; ns 0: its begin was not seen. */
static inline struct tk_entered tk_left(u64 function)
{
	struct tk_call call = {.function = function, .tid = (u32)bpf_get_current_pid_tgid()};
	struct tk_entered *found = tk_calls.lookup(&call);
	struct tk_entered entered = {};

	if (found) {
		entered = *found;
		tk_calls.delete(&call);
	}
	return entered;
}

static inline u64 tk_read(u64 at)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)at);
	return value;
}

static inline u64 tk_value(const u64 *args, const struct tk_source *s)
{
	u64 value = args[s->argument & 7];

	if (s->bytes) {
		u64 at = value + (s64)s->offset + args[s->entry & 7] * s->stride;

		value = 0;
		bpf_probe_read_kernel(&value, s->bytes < 8 ? s->bytes : 8, (void *)at);
	}
	return s->is_int ? (u64)(s64)(s32)value : value;
}

static inline void tk_text(char *text, u32 size, u64 at)
{
	if (at)
		bpf_probe_read_kernel_str(text, size, (void *)at);
}

static inline void tk_name(struct tk_record *r, const u64 *args, const struct tk_source *s)
{
	u64 at = args[s->argument & 7];

	if (s->bytes) {
		at += (s64)s->offset;
		if (s->bytes == 8)
			bpf_probe_read_kernel(&at, sizeof(at), (void *)at);
	}
	tk_text(r->name, sizeof(r->name), at);
}

static inline int tk_prints(u16 flags)
{
	return flags & TK_PERSIST || (flags & TK_PERSIST_DOWN && tk_going_down());
}

static inline int tk_skipped(u16 flags)
{
	return flags & TK_ONLY_DOWN && tk_going_down() != (u32)bpf_get_current_pid_tgid();
}

int tk_call(struct pt_regs *ctx)
{
	u64 args[8] = {
		0,
		PT_REGS_PARM1(ctx),
		PT_REGS_PARM2(ctx),
		PT_REGS_PARM3(ctx),
		PT_REGS_PARM4(ctx),
		PT_REGS_PARM5(ctx),
	};
	u64 address = bpf_get_func_ip(ctx);
	struct tk_function *f = tk_functions.lookup(&address);
	struct tk_record r;

	if (!f || tk_skipped(f->flags))
		return 0;
	tk_begin(&r, f->kind);
	if (f->flags & TK_DOWN)
		tk_go_down(r.pid);
	r.value[0] = tk_value(args, &f->value[0]);
	r.value[1] = tk_value(args, &f->value[1]);
	r.value[2] = tk_value(args, &f->value[2]);
	r.value[3] = tk_value(args, &f->value[3]);
	tk_name(&r, args, &f->name);
	tk_entered_at(address, r.ns, 0);
	tk_send(&r, tk_prints(f->flags));
	return 0;
}

int tk_call_return(struct pt_regs *ctx)
{
	u64 address = bpf_get_func_ip(ctx);
	struct tk_function *f = tk_functions.lookup(&address);
	struct tk_entered entered = tk_left(address);
	struct tk_record r;

	if (!f || !entered.ns)
		return 0;
	tk_begin(&r, f->kind | TK_RETURN);
	r.duration_ns = r.ns - entered.ns;
	if (f->flags & TK_RETURNS_INT)
		r.value[0] = (s64)(s32)PT_REGS_RC(ctx);
	tk_send(&r, tk_prints(f->flags));
	if (f->flags & TK_DOWN)
		tk_go_down(0);
	return 0;
}
