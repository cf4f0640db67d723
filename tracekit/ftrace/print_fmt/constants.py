"""Names in print formats whose values the format does not say and no kernel has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["CONSTANTS", "CONSTANTS_OF"]

# enum fault_flag, include/linux/mm_types.h: by bit
_FAULT_FLAGS = (
    "WRITE", "MKWRITE", "ALLOW_RETRY", "RETRY_NOWAIT", "KILLABLE", "TRIED", "USER", "REMOTE",
    "INSTRUCTION", "INTERRUPTIBLE", "UNSHARE", "ORIG_PTE_VALID", "VMA_LOCK",
)  # fmt: skip
# enum ec_status, include/linux/platform_data/cros_ec_commands.h: the controller's protocol
_EC_RES = (
    "SUCCESS", "INVALID_COMMAND", "ERROR", "INVALID_PARAM", "ACCESS_DENIED", "INVALID_RESPONSE",
    "INVALID_VERSION", "INVALID_CHECKSUM", "IN_PROGRESS", "UNAVAILABLE", "TIMEOUT", "OVERFLOW",
    "INVALID_HEADER", "REQUEST_TRUNCATED", "RESPONSE_TOO_BIG", "BUS_ERROR", "BUSY",
    "INVALID_HEADER_VERSION", "INVALID_HEADER_CRC", "INVALID_DATA_CRC", "DUP_UNAVAILABLE",
)  # fmt: skip

# enum in include/linux/interrupt.h, named so before formats had the numbers (Linux 4.1)
_SOFTIRQS = (
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "BLOCK_IOPOLL", "TASKLET", "SCHED", "HRTIMER",
    "RCU",
)  # fmt: skip
# enum scsi_prot_operations, include/scsi/scsi_cmnd.h
_SCSI_PROT = (
    "NORMAL", "READ_INSERT", "WRITE_STRIP", "READ_STRIP", "WRITE_INSERT", "READ_PASS", "WRITE_PASS",
)  # fmt: skip
# include/scsi/scsi_status.h, include/scsi/scsi_proto.h: macros that became enumerators in 5.14
_DID = (
    "OK", "NO_CONNECT", "BUS_BUSY", "TIME_OUT", "BAD_TARGET", "ABORT", "PARITY", "ERROR", "RESET",
    "BAD_INTR", "PASSTHROUGH", "SOFT_ERROR", "IMM_RETRY", "REQUEUE", "TRANSPORT_DISRUPTED",
    "TRANSPORT_FAILFAST",
)  # fmt: skip
_SAM_STAT = {
    "GOOD": 0x00, "CHECK_CONDITION": 0x02, "CONDITION_MET": 0x04, "BUSY": 0x08,
    "INTERMEDIATE": 0x10, "INTERMEDIATE_CONDITION_MET": 0x14, "RESERVATION_CONFLICT": 0x18,
    "COMMAND_TERMINATED": 0x22, "TASK_SET_FULL": 0x28, "ACA_ACTIVE": 0x30, "TASK_ABORTED": 0x40,
}  # fmt: skip
# enum wb_reason, include/linux/backing-dev-defs.h, as it was while formats had its names (to 4.0)
_WB_REASONS = (
    "BACKGROUND", "TRY_TO_FREE_PAGES", "SYNC", "PERIODIC", "LAPTOP_TIMER", "FREE_MORE_MEM",
    "FS_FREE_SPACE", "FORKER_THREAD",
)  # fmt: skip
# enum netdev_cmd, include/linux/netdevice.h, where it has not changed
_NETDEV = (
    "UP", "DOWN", "REBOOT", "CHANGE", "REGISTER", "UNREGISTER", "CHANGEMTU", "CHANGEADDR",
)  # fmt: skip
# enum migrate_reason, include/linux/migrate.h, as it was while formats had its names (to 4.0)
_MR = (
    "COMPACTION", "MEMORY_FAILURE", "MEMORY_HOTPLUG", "SYSCALL", "MEMPOLICY_MBIND",
    "NUMA_MISPLACED", "CMA",
)  # fmt: skip
_MM_EVENTS = (
    "MIN_FAULT", "MAJ_FAULT", "READ_IO", "COMPACTION", "RECLAIM", "SWP_FAULT", "KERN_ALLOC",
)  # fmt: skip
# enum kgsl_user_mem_type, include/uapi/linux/msm_kgsl.h; drivers/gpu/msm/adreno.h
_KGSL_MEM = ("PMEM", "ASHMEM", "ADDR", "ION")
_KGSL_FT = (
    "OFF", "REPLAY", "SKIPIB", "SKIPFRAME", "DISABLE", "TEMP_DISABLE", "THROTTLE", "SKIPCMD",
)  # fmt: skip


def _numbered(
    prefix: str, names: Iterable[str], suffix: str = "", first: int = 0
) -> dict[str, int]:
    """Enumerators in order."""
    return {f"{prefix}{name}{suffix}": first + n for n, name in enumerate(names)}


#: Names that kernels leave unexpanded in their formats and whose values have not changed since
#: they were introduced.
CONSTANTS: Mapping[str, int] = {
    # a local of trace_raw_output_EVENT(), include/trace/stages/stage3_trace_output.h, which is
    # TRACE_TYPE_HANDLED there; usb_ep_* print it by mistake up to Linux 5.13
    "ret": 1,
    "true": 1, "false": 0, "NULL": 0,
    # Start of the struct page array, different in every boot. Pages are only printed with %p,
    # which the kernel hashes into an identifier; here the offset in the array identifies a page.
    "vmemmap_base": 0,
    # enum in include/net/tcp_states.h
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4,
    "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8,
    "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11, "TCP_NEW_SYN_RECV": 12,
    # enum in include/uapi/linux/ioprio.h
    "IOPRIO_CLASS_NONE": 0, "IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3,
    "IOPRIO_CLASS_INVALID": 7,
    # enum hrtimer_mode, include/linux/hrtimer.h
    "HRTIMER_MODE_ABS": 0, "HRTIMER_MODE_REL": 1,
    "HRTIMER_MODE_ABS_PINNED": 2, "HRTIMER_MODE_REL_PINNED": 3,
    "HRTIMER_MODE_ABS_SOFT": 4, "HRTIMER_MODE_REL_SOFT": 5,
    "HRTIMER_MODE_ABS_PINNED_SOFT": 6, "HRTIMER_MODE_REL_PINNED_SOFT": 7,
    "HRTIMER_MODE_ABS_HARD": 8, "HRTIMER_MODE_REL_HARD": 9,
    "HRTIMER_MODE_ABS_PINNED_HARD": 10, "HRTIMER_MODE_REL_PINNED_HARD": 11,
    # enum pm_qos_req_action, include/linux/pm_qos.h
    "PM_QOS_ADD_REQ": 0, "PM_QOS_UPDATE_REQ": 1, "PM_QOS_REMOVE_REQ": 2,
    # enum vmscan_throttle_state, include/linux/mmzone.h
    "VMSCAN_THROTTLE_WRITEBACK": 0, "VMSCAN_THROTTLE_ISOLATED": 1,
    "VMSCAN_THROTTLE_NOPROGRESS": 2, "VMSCAN_THROTTLE_CONGESTED": 3,
    # enum in include/linux/printk.h
    "DUMP_PREFIX_NONE": 0, "DUMP_PREFIX_ADDRESS": 1, "DUMP_PREFIX_OFFSET": 2,
    # enum vm_fault_reason, include/linux/mm_types.h
    **{
        f"FAULT_FLAG_{name}": 1 << bit
        for bit, name in enumerate(_FAULT_FLAGS)
    },
    "VM_FAULT_OOM": 0x1, "VM_FAULT_SIGBUS": 0x2, "VM_FAULT_MAJOR": 0x4, "VM_FAULT_HWPOISON": 0x10,
    "VM_FAULT_HWPOISON_LARGE": 0x20, "VM_FAULT_SIGSEGV": 0x40, "VM_FAULT_NOPAGE": 0x100,
    "VM_FAULT_LOCKED": 0x200, "VM_FAULT_RETRY": 0x400, "VM_FAULT_FALLBACK": 0x800,
    "VM_FAULT_DONE_COW": 0x1000, "VM_FAULT_NEEDDSYNC": 0x2000, "VM_FAULT_COMPLETED": 0x4000,
    # enum cxl_event_log_type, drivers/cxl/cxlmem.h, as the CXL specification numbers the logs
    "CXL_EVENT_TYPE_INFO": 0, "CXL_EVENT_TYPE_WARN": 1, "CXL_EVENT_TYPE_FAIL": 2,
    "CXL_EVENT_TYPE_FATAL": 3,
    **{
        f"EC_RES_{name}": number
        for number, name in enumerate(_EC_RES)
    },
    **_numbered("", _SOFTIRQS, "_SOFTIRQ"), "IRQ_POLL_SOFTIRQ": 5,
    **_numbered("SCSI_PROT_", _SCSI_PROT),
    **_numbered("DID_", _DID),
    **{f"SAM_STAT_{name}": value for name, value in _SAM_STAT.items()},
    **_numbered("WB_REASON_", _WB_REASONS),
    **_numbered("MR_", _MR),
    **_numbered("NETDEV_", _NETDEV, first=1),
    # enum migrate_mode, include/linux/migrate_mode.h
    "MIGRATE_ASYNC": 0, "MIGRATE_SYNC_LIGHT": 1, "MIGRATE_SYNC": 2,
    # enum cpu_idle_type, include/linux/sched/idle.h; 4.x and older: CPU_IDLE
    "CPU_IDLE": 0, "CPU_NOT_IDLE": 1, "CPU_NEWLY_IDLE": 2,
    # enum dev_pm_qos_req_type, include/linux/pm_qos.h, where it has not changed; and an enum in the
    # same file before 5.7
    "DEV_PM_QOS_RESUME_LATENCY": 1, "DEV_PM_QOS_LATENCY_TOLERANCE": 2,
    "PM_QOS_CPU_DMA_LATENCY": 1, "PM_QOS_NETWORK_LATENCY": 2, "PM_QOS_NETWORK_THROUGHPUT": 3,
    # enum nl80211_band, l2tp_pwtype and l2tp_encap_type, include/uapi/linux
    "NL80211_BAND_2GHZ": 0, "NL80211_BAND_5GHZ": 1, "NL80211_BAND_60GHZ": 2,
    "NL80211_BAND_6GHZ": 3, "NL80211_BAND_S1GHZ": 4, "NL80211_BAND_LC": 5,
    "L2TP_PWTYPE_NONE": 0, "L2TP_PWTYPE_ETH_VLAN": 4, "L2TP_PWTYPE_ETH": 5, "L2TP_PWTYPE_PPP": 7,
    "L2TP_PWTYPE_PPP_AC": 8, "L2TP_PWTYPE_IP": 11, "L2TP_ENCAPTYPE_UDP": 0, "L2TP_ENCAPTYPE_IP": 1,
    # enum swiotlb_force, include/linux/swiotlb.h
    "SWIOTLB_NORMAL": 0, "SWIOTLB_FORCE": 1, "SWIOTLB_NO_FORCE": 2,
    # enum ufs_dev_pwr_mode, uic_link_state and clk_gating_state, drivers/ufs
    "UFS_ACTIVE_PWR_MODE": 1, "UFS_SLEEP_PWR_MODE": 2, "UFS_POWERDOWN_PWR_MODE": 3,
    "UFS_DEEPSLEEP_PWR_MODE": 4,
    "UIC_LINK_OFF_STATE": 0, "UIC_LINK_ACTIVE_STATE": 1, "UIC_LINK_HIBERN8_STATE": 2,
    "UIC_LINK_BROKEN_STATE": 3,
    "CLKS_OFF": 0, "CLKS_ON": 1, "REQ_CLKS_OFF": 2, "REQ_CLKS_ON": 3,
    "HIBERN8_ENTERED": 0, "HIBERN8_EXITED": 1, "REQ_HIBERN8_ENTER": 2, "REQ_HIBERN8_EXIT": 3,
    # enum in fs/ext4/extents_status.h
    "ES_WRITTEN_B": 0, "ES_UNWRITTEN_B": 1, "ES_DELAYED_B": 2, "ES_HOLE_B": 3, "ES_REFERENCED_B": 4,
    # enum mm_event_type, include/linux/mm_event.h of Android
    **_numbered("MM_", _MM_EVENTS),
    # enum xen_lazy_mode, xen_mc_flush_reason and xen_mc_extend_args, include/trace/events/xen.h
    **_numbered("XEN_LAZY_", ("NONE", "MMU", "CPU")),
    **_numbered("XEN_MC_FL_", ("NONE", "BATCH", "ARGS", "CALLBACK")),
    **_numbered("XEN_MC_XE_", ("OK", "BAD_OP", "NO_SPACE")),
    # enum cxl_poison_trace_type, drivers/cxl/cxlmem.h; enum cache_tag_type, drivers/iommu/intel
    **_numbered("CXL_POISON_TRACE_", ("LIST", "INJECT", "CLEAR")),
    **_numbered("CACHE_TAG_", ("IOTLB", "DEVTLB", "NESTING_IOTLB", "NESTING_DEVTLB")),
    # enum fscache_active_use_trace, include/trace/events/fscache.h
    **_numbered("fscache_active_", ("use", "use_modify", "unuse")),
    # enum snd_soc_dapm_direction, include/sound/soc-dapm.h
    "SND_SOC_DAPM_DIR_IN": 0, "SND_SOC_DAPM_DIR_OUT": 1,
    **_numbered("KGSL_USER_MEM_TYPE_", _KGSL_MEM),
    **_numbered("KGSL_FT_", _KGSL_FT),
    "KGSL_EVENT_RETIRED": 1, "KGSL_EVENT_CANCELLED": 2,
}  # fmt: skip

# fs/f2fs/f2fs.h, segment.h: names too common to stand for one value everywhere
_F2FS_SEGMENTS = ("HOT_DATA", "WARM_DATA", "COLD_DATA", "HOT_NODE", "WARM_NODE", "COLD_NODE")

#: The same, by the system of the event.
CONSTANTS_OF: Mapping[str, Mapping[str, int]] = {
    "f2fs": {
        "DATA": 0, "NODE": 1, "META": 2, "META_FLUSH": 4,
        **_numbered("CURSEG_", _F2FS_SEGMENTS), "BG_GC": 0, "FG_GC": 1,
        "LFS": 0, "SSR": 1, "AT_SSR": 2, "GC_CB": 0, "GC_GREEDY": 1, "GC_AT": 2,
        **_numbered("COMPRESS_", ("LZO", "LZ4", "ZSTD", "LZORLE")),
    },
    # enum hfi1_sdma_comp_state, include/uapi/rdma/hfi/hfi1_user.h
    "hfi1_tx": _numbered("", ("FREE", "QUEUED", "COMPLETE", "ERROR")),
}  # fmt: skip
