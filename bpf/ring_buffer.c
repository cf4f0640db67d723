// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trace ring buffer itself (kernel/trace/ring_buffer.c). What is rare is probed with tk_call;
 * what every page of events does is only counted. Nothing here may print into a trace buffer:
 * it runs inside one.
 */
int tk_page_crossing(struct pt_regs *ctx)
{
	int first = 0;
	struct tk_cpu *cpu = tk_cpus.lookup(&first);

	if (cpu)
		cpu->page_crossings++;
	return 0;
}

int tk_reader_swap(struct pt_regs *ctx)
{
	int first = 0;
	struct tk_cpu *cpu = tk_cpus.lookup(&first);

	if (cpu)
		cpu->reader_swaps++;
	return 0;
}
