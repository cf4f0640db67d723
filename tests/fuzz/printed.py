"""Print formats that use what the parser and the evaluator know."""

from __future__ import annotations

__all__ = ["PRINTED"]

PRINTED = (
    '"%s %d", REC->comm, REC->common_pid',
    '"%s", __print_flags(REC->address, "|", {0x1, "a"}, {0x2UL, "b"})',
    '"%s %*pbl %px", __print_symbolic(REC->address & 0xff, {0, "x"}, {1ULL << 3, "y"}), 4, '
    "__get_dynamic_array(many), (void *)REC->address",
    '"%-16s|%08lx|%pS", __get_str(name), (unsigned long)REC->address >> 3, (void *)REC->address',
    '"%s %s", __print_hex(REC->comm, 16), __print_array(__get_dynamic_array(many), '
    "__get_dynamic_array_len(many) / 4, 4)",
    '"%c %u", ({ char x = REC->comm[0]; x ? x : 1; }), sizeof(REC->comm) * 2 % 7',
    '"%llu %d %s %u %pe", div_u64(REC->address, 3), __ffs(REC->address), str_yes_no(1), '
    "(1, fls(REC->address)), ERR_PTR(-2), strlen(__get_str(name))",
    '"%s%s %s%s", nvme_trace_disk_name(p, REC->comm), nvme_trace_parse_nvm_cmd(p, REC->address, '
    "REC->comm), libata_trace_parse_qc_flags(p, REC->address), print_ip_addr(p, REC->comm, 80, 1)",
    '"%d %ptT %*pEhp %pGg", __builtin_choose_expr(__builtin_types_compatible_p(typeof(REC->address)'
    ", unsigned long), ({ do { } while (0); REC->address; }), 0), &REC->address, 5, REC->comm, "
    "&REC->address",
    '"%s %d %d", ({ const char *saved = trace_seq_buffer_ptr(p); '
    'static const char *a[] = { "x", "y", '
    '"a", "b", "c", "d", "e", "f" }; union kvm_mmu_page_role r; r.word = REC->address; '
    'trace_seq_printf(p, "%u%s%c", r.level, a[r.access], 0); saved; }), '
    "((const struct drm_rect *)REC->comm)->y1, ((struct buffer_control *)__get_dynamic_array(many))"
    "->vl[3].shared",
)
