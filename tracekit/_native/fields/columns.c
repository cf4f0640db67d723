/* tracekit._native.columns: fields of records as columns. columns.pyi has the Python types. */
#include "../records.h"

NATIVE_MODULE(columns, "Fields of records as contiguous columns, and the times between events.",
	      {"gather", native_gather, METH_VARARGS,
	       "gather(data, offsets, lengths, at, size) -> (column, too short records)"},
	      {"gather_var", native_gather_var, METH_VARARGS,
	       "gather_var(data, offsets, lengths, mode, at, size, cstring, unit) -> (ends, "
	       "values, bad)"},
	      {"intern", native_intern, METH_VARARGS,
	       "intern(data, offsets, lengths, skip, seed) -> (codes, first records)"},
	      {"gaps_counted", native_gaps_counted, METH_VARARGS,
	       "gaps_counted(names, counts, is_first, kinds, marks, ts, boots, start, table, "
	       "timed)"},
	      {"gaps_settled", native_gaps_settled, METH_VARARGS,
	       "gaps_settled(names, counts, is_first, percent, percent) -> names that are left"})
