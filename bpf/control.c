// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What others than the recorder do to the tracers through tracefs, seen from the file system:
 * kernel/trace/ itself may not be probed on most kernels. Values are written, files that O_TRUNC empties are opened with it,
 * and those that consume events or shrink the buffer when closed are opened and closed. Offsets
 * come from BTF; without it none of these programs is attached.
 */
#ifdef TK_FILE_INODE

#define TK_TRACEFS_MAGIC 0x74726163ULL /* include/uapi/linux/magic.h */
#define TK_O_TRUNC 01000	       /* include/uapi/asm-generic/fcntl.h */
#define TK_DEPTH 10		       /* directories between a file and the root; there are 6 */
#define TK_PART 32		       /* bytes kept of a file's and of its directory's name */
#define TK_WRITTEN 32		       /* bytes kept of what is written: value[] */

/* Eight bytes of a name as the number that they are in memory. */
#define TK_WORD(a, b, c, d, e, f, g, h)                                                            \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 |             \
	 (u64)(f) << 40 | (u64)(g) << 48 | (u64)(h) << 56)

struct tk_words {
	u64 first;
	u64 second;
};

static inline u32 tk_recorder_pid(void)
{
	int first = 0;
	u32 *pid = tk_recorder.lookup(&first);

	return pid ? *pid : 0;
}

static inline int tk_in_tracefs(u64 inode)
{
	u64 super = inode ? tk_read(inode + TK_INODE_SB) : 0;

	return super && tk_read(super + TK_SUPER_MAGIC) == TK_TRACEFS_MAGIC &&
	       bpf_get_current_pid_tgid() >> 32 != tk_recorder_pid();
}

static inline struct tk_words tk_name_of(u64 dentry)
{
	struct tk_words words = {};

	bpf_probe_read_kernel_str(&words, sizeof(words), (void *)tk_read(dentry + TK_DENTRY_NAME));
	return words;
}

/* trace_marker and trace_marker_raw: what is written there is an event, not a setting. */
static inline int tk_is_marker(struct tk_words name)
{
	return name.first == TK_WORD('t', 'r', 'a', 'c', 'e', '_', 'm', 'a');
}

/* trace_pipe, trace_pipe_raw, snapshot_raw, free_buffer: to open or close them changes something */
static inline int tk_is_held(struct tk_words name)
{
	return name.first == TK_WORD('t', 'r', 'a', 'c', 'e', '_', 'p', 'i') ||
	       name.first == TK_WORD('f', 'r', 'e', 'e', '_', 'b', 'u', 'f') ||
	       (name.first == TK_WORD('s', 'n', 'a', 'p', 's', 'h', 'o', 't') &&
		name.second == TK_WORD('_', 'r', 'a', 'w', 0, 0, 0, 0));
}

/* trace, set_*, and *_events of kprobes and the like: what they hold is gone once truncated. */
static inline int tk_is_emptied(struct tk_words name)
{
	return name.first == TK_WORD('t', 'r', 'a', 'c', 'e', 0, 0, 0) ||
	       (name.first & 0xffffffff) == TK_WORD('s', 'e', 't', '_', 0, 0, 0, 0) ||
	       name.first == TK_WORD('k', 'p', 'r', 'o', 'b', 'e', '_', 'e') ||
	       name.first == TK_WORD('u', 'p', 'r', 'o', 'b', 'e', '_', 'e') ||
	       name.first == TK_WORD('d', 'y', 'n', 'a', 'm', 'i', 'c', '_') ||
	       name.first == TK_WORD('s', 'y', 'n', 't', 'h', 'e', 't', 'i');
}

/*
 * name: the file, behind the name of its directory unless that is the instance's own; driver: the
 * instance, empty for the top one.
 */
static inline void tk_file_names(struct tk_record *r, u64 dentry)
{
	u64 top = dentry, under = 0, below = 0, dir = tk_read(dentry + TK_DENTRY_PARENT);
	u64 own;
	s64 length = 0;
	struct tk_words name;

#pragma unroll
	for (int depth = 0; depth < TK_DEPTH; depth++) {
		u64 parent = tk_read(top + TK_DENTRY_PARENT);

		if (!parent || parent == top)
			break;
		below = under;
		under = top;
		top = parent;
	}
	own = top;
	if (below && below != dentry) {
		name = tk_name_of(under);
		if (name.first == TK_WORD('i', 'n', 's', 't', 'a', 'n', 'c', 'e') &&
		    name.second == TK_WORD('s', 0, 0, 0, 0, 0, 0, 0))
			own = below;
	}
	if (dir != own && dir != dentry) {
		length = bpf_probe_read_kernel_str(r->name, TK_PART,
						   (void *)tk_read(dir + TK_DENTRY_NAME));
		if (length > 0) {
			length = (length - 1) & (TK_PART - 1); /* for the verifier */
			r->name[length++] = '/';
		} else {
			length = 0;
		}
	}
	/* TK_PART bytes behind as many end in driver, which is written next */
	bpf_probe_read_kernel_str(r->name + length, TK_PART,
				  (void *)tk_read(dentry + TK_DENTRY_NAME));
	r->name[sizeof(r->name) - 1] = 0;
	__builtin_memset(r->driver, 0, sizeof(r->driver));
	if (own != top)
		tk_text(r->driver, sizeof(r->driver), tk_read(own + TK_DENTRY_NAME));
}

/* value[]: the text that is written, without the newline at its end; "..." ends a longer one. */
static inline void tk_written_text(struct tk_record *r, u64 from, u64 count)
{
	char *text = (char *)r->value;
	u64 length = count < TK_WRITTEN ? count : TK_WRITTEN;

	if (!length)
		return;
	if (bpf_probe_read_user(text, length, (void *)from)) {
		__builtin_memcpy(text, "(unread)", 9);
		return;
	}
	if (count > TK_WRITTEN) {
		__builtin_memcpy(text + TK_WRITTEN - 3, "...", 3);
		return;
	}
	length--;
	asm volatile(
		""
		: "+r"(length)); /* else the mask is optimized away, which the verifier needs */
	length &= TK_WRITTEN - 1;
	if (text[length] == '\n')
		text[length] = 0;
}

static inline int tk_tracefs(u64 dentry, u16 kind)
{
	struct tk_record r;

	tk_begin(&r, kind);
	tk_file_names(&r, dentry);
	tk_send(&r, 1);
	return 0;
}

/* vfs_write(struct file *, const char __user *, size_t, loff_t *) */
int tk_tracefs_write(struct pt_regs *ctx)
{
	u64 file = PT_REGS_PARM1(ctx), dentry;
	struct tk_record r;

	if (!tk_in_tracefs(tk_read(file + TK_FILE_INODE)))
		return 0;
	dentry = tk_read(file + TK_FILE_DENTRY);
	if (tk_is_marker(tk_name_of(dentry)))
		return 0;
	tk_begin(&r, TK_KIND_TRACEFS_WRITE);
	tk_file_names(&r, dentry);
	tk_written_text(&r, PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx));
	tk_send(&r, 1);
	return 0;
}

/* vfs_open(const struct path *, struct file *) */
int tk_tracefs_open(struct pt_regs *ctx)
{
	u64 dentry = tk_read(PT_REGS_PARM1(ctx) + TK_PATH_DENTRY);
	u32 flags = tk_read(PT_REGS_PARM2(ctx) + TK_FILE_FLAGS);
	struct tk_words name;

	if (!tk_in_tracefs(tk_read(dentry + TK_DENTRY_INODE)))
		return 0;
	name = tk_name_of(dentry);
	if (tk_is_held(name))
		return tk_tracefs(dentry, TK_KIND_TRACEFS_OPEN);
	if (flags & TK_O_TRUNC && tk_is_emptied(name))
		return tk_tracefs(dentry, TK_KIND_TRACEFS_TRUNCATE);
	return 0;
}

/* __fput(struct file *): nobody has the file open any more */
int tk_tracefs_close(struct pt_regs *ctx)
{
	u64 file = PT_REGS_PARM1(ctx), dentry;

	if (!tk_in_tracefs(tk_read(file + TK_FILE_INODE)))
		return 0;
	dentry = tk_read(file + TK_FILE_DENTRY);
	return tk_is_held(tk_name_of(dentry)) ? tk_tracefs(dentry, TK_KIND_TRACEFS_CLOSE) : 0;
}

#endif
