#include "comm/mpi_module.h"

#include <mpi.h>

namespace pfc {

struct MpiRequest {
  MPI_Request handle = MPI_REQUEST_NULL;
};

namespace {

MPI_Comm g_comm = MPI_COMM_NULL;

const char* text_of(int status) {
  if (status == MPI_SUCCESS) return nullptr;
  thread_local char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  return text;
}

MPI_Datatype type_of(MpiModule::Type type) {
  switch (type) {
    case MpiModule::kUint8:
      return MPI_UINT8_T;
    case MpiModule::kUint16:
      return MPI_UINT16_T;
    case MpiModule::kUint32:
      return MPI_UINT32_T;
    case MpiModule::kUint64:
      return MPI_UINT64_T;
    case MpiModule::kInt64:
      return MPI_INT64_T;
    case MpiModule::kFloat:
      return MPI_FLOAT;
    case MpiModule::kDouble:
      return MPI_DOUBLE;
  }
  return MPI_DATATYPE_NULL;
}

/// Calls begin(handle), and keeps the handle if it succeeds.
template <class Begin>
const char* begun(MpiRequest** request, const Begin& begin) {
  MpiRequest made;
  if (const char* const failure = text_of(begin(&made.handle))) return failure;
  *request = new MpiRequest(made);
  return nullptr;
}

const char* start(int* rank, int* world) {
  int provided = 0;
  int status = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (status == MPI_SUCCESS) status = MPI_Comm_dup(MPI_COMM_WORLD, &g_comm);
  if (status == MPI_SUCCESS) status = MPI_Comm_set_errhandler(g_comm, MPI_ERRORS_RETURN);
  if (status == MPI_SUCCESS) status = MPI_Comm_rank(g_comm, rank);
  if (status == MPI_SUCCESS) status = MPI_Comm_size(g_comm, world);
  return text_of(status);
}

void finish() {
  MPI_Comm_free(&g_comm);
  MPI_Finalize();
}

void end_all(int status) {
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised != 0 && finalised == 0) MPI_Abort(MPI_COMM_WORLD, status);
}

const char* all_gather(const void* from, void* to, int count, MpiModule::Type type,
                       MpiRequest** request) {
  return begun(request, [&](MPI_Request* handle) {
    return MPI_Iallgather(from, count, type_of(type), to, count, type_of(type), g_comm, handle);
  });
}

const char* reduce_scatter(const void* from, void* to, int count, MpiModule::Type type,
                           MpiRequest** request) {
  return begun(request, [&](MPI_Request* handle) {
    return MPI_Ireduce_scatter_block(from, to, count, type_of(type), MPI_SUM, g_comm, handle);
  });
}

const char* all_reduce(void* values, int count, MpiModule::Type type, MpiRequest** request) {
  return begun(request, [&](MPI_Request* handle) {
    return MPI_Iallreduce(MPI_IN_PLACE, values, count, type_of(type), MPI_SUM, g_comm, handle);
  });
}

const char* broadcast(void* values, int count, MpiModule::Type type, MpiRequest** request) {
  return begun(request, [&](MPI_Request* handle) {
    return MPI_Ibcast(values, count, type_of(type), 0, g_comm, handle);
  });
}

const char* barrier(MpiRequest** request) {
  return begun(request, [&](MPI_Request* handle) { return MPI_Ibarrier(g_comm, handle); });
}

const char* test(MpiRequest** request) {
  int done = 0;
  const char* const failure = text_of(MPI_Test(&(*request)->handle, &done, MPI_STATUS_IGNORE));
  if (failure == nullptr && done != 0) {
    delete *request;
    *request = nullptr;
  }
  return failure;
}

constexpr MpiModule kModule = {.start = start,
                               .finish = finish,
                               .end_all = end_all,
                               .all_gather = all_gather,
                               .reduce_scatter = reduce_scatter,
                               .all_reduce = all_reduce,
                               .broadcast = broadcast,
                               .barrier = barrier,
                               .test = test};

}  // namespace
}  // namespace pfc

extern "C" __attribute__((visibility("default"))) const pfc::MpiModule* pfc_mpi_module() {
  return &pfc::kModule;
}
