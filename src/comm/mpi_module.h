#pragma once

namespace pfc {

/// A collective of MPI that is under way.
struct MpiRequest;

/// What pfc asks of MPI. The module libpfc_mpi.so, which needs MPI, hands it out, so that the
/// program itself needs no MPI where mpirun has not started it. The interface is one of plain
/// functions, so the module needs nothing of the program that loads it.
///
/// A function that returns text returns null, or what MPI says went wrong, valid until the thread's
/// next call.
struct MpiModule {
  enum Type { kUint8, kUint16, kUint32, kUint64, kInt64, kFloat, kDouble };

  const char* (*start)(int* rank, int* world);
  void (*finish)();
  /// Ends the processes of all ranks, if MPI runs.
  void (*end_all)(int status);

  // Each sets `request`. Counts are those of one rank's part, in a broadcast and in an all-reduce
  // those of the whole.
  const char* (*all_gather)(const void* from, void* to, int count, Type type, MpiRequest** request);
  const char* (*reduce_scatter)(const void* from, void* to, int count, Type type,
                                MpiRequest** request);
  const char* (*all_reduce)(void* values, int count, Type type, MpiRequest** request);
  const char* (*broadcast)(void* values, int count, Type type, MpiRequest** request);
  const char* (*barrier)(MpiRequest** request);
  /// Lets a collective progress. If it is over, frees the request and sets it to null.
  const char* (*test)(MpiRequest** request);
};

/// The name of the function of the module that returns it.
inline constexpr const char* kMpiModuleFunction = "pfc_mpi_module";
using MpiModuleFunction = const MpiModule*();

}  // namespace pfc
