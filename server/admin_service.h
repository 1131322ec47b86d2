#pragma once

#include "server/rpc_call.h"
#include "spade/v1/admin.grpc.pb.h"

namespace spade {

// The RPCs of spade.v1.Admin.
class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(ServiceContext service) : service_(std::move(service)) {}

  grpc::ServerUnaryReactor* ListRequests(grpc::CallbackServerContext* context,
                                         const v1::ListRequestsRequest* request,
                                         v1::ListRequestsResponse* response) override;

 private:
  const ServiceContext service_;
};

}  // namespace spade
