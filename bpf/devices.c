// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every bus's, class's and driver's shutdown callback: void (*)(struct device *), called by
 * device_shutdown() (drivers/base/core.c). Offsets come from BTF; without them names are empty.
 */
static inline void tk_device_names(struct tk_record *r, u64 device)
{
#ifdef TK_DEVICE_NAME
	u64 name = tk_read(device + TK_DEVICE_INIT_NAME);
	u64 driver = tk_read(device + TK_DEVICE_DRIVER);

	tk_text(r->name, sizeof(r->name), name ? name : tk_read(device + TK_DEVICE_NAME));
	if (driver)
		tk_text(r->driver, sizeof(r->driver), tk_read(driver + TK_DRIVER_NAME));
#endif
}

/* Whether the kernel lets a PCI device be bus master; -1 where it is none or cannot be told. */
static inline s64 tk_bus_master(u64 device)
{
#ifdef TK_PCI_IS_BUSMASTER
	u64 bus = tk_read(device + TK_DEVICE_BUS);
	char name[4] = {};
	u8 bits = 0;

	if (bus)
		bpf_probe_read_kernel(name, sizeof(name), (void *)tk_read(bus + TK_BUS_NAME));
	if (name[0] != 'p' || name[1] != 'c' || name[2] != 'i' || name[3])
		return -1;
	bpf_probe_read_kernel(&bits, 1, (void *)(device - TK_PCI_DEVICE + TK_PCI_IS_BUSMASTER / 8));
	return bits >> TK_PCI_IS_BUSMASTER % 8 & 1;
#else
	return -1;
#endif
}

int tk_device(struct pt_regs *ctx)
{
	u64 device = PT_REGS_PARM1(ctx), function = bpf_get_func_ip(ctx);
	struct tk_record r;

	tk_begin(&r, TK_KIND_DEVICE_SHUTDOWN);
	r.value[0] = tk_bus_master(device);
	r.value[1] = function;
	tk_device_names(&r, device);
	tk_entered_at(function, r.ns, device);
	tk_send(&r, 1);
	return 0;
}

int tk_device_return(struct pt_regs *ctx)
{
	u64 function = bpf_get_func_ip(ctx);
	struct tk_entered entered = tk_left(function);
	struct tk_record r;

	if (!entered.ns)
		return 0;
	tk_begin(&r, TK_KIND_DEVICE_SHUTDOWN | TK_RETURN);
	r.duration_ns = r.ns - entered.ns;
	r.value[0] = tk_bus_master(entered.argument);
	r.value[1] = function;
	tk_device_names(&r, entered.argument);
	tk_send(&r, 1);
	return 0;
}
