// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loading a kernel and the way down to it. The functions themselves are probed with tk_call and
 * tk_call_return; here is what is no function: each callback of the notifier chains that run on
 * the way down. notifier_call_chain() may not be probed, but has a tracepoint (kernel/notifier.c).
 */
int tk_notifier(struct bpf_raw_tracepoint_args *ctx)
{
	struct tk_record r;

	if (tk_going_down() != (u32)bpf_get_current_pid_tgid())
		return 0;
	tk_begin(&r, TK_KIND_KEXEC_NOTIFIER);
	r.value[0] = ctx->args[0];
	tk_send(&r, 1);
	return 0;
}
