// msa/transfer.h without a library behind it.
#include "msa/transfer.h"

namespace msa {

Result<EncodeReport> encode_shard(const Model& model, Bank& bank, DocumentSource& source,
                                  const Shard&, const EncodeOptions& options,
                                  std::function<void(const EncodeProgress&)> progress,
                                  std::stop_token stop) {
  return encode(model, bank, source, options, std::move(progress), std::move(stop));
}

Result<AttachReport> attach(const std::filesystem::path&, const std::vector<std::filesystem::path>&,
                            const AttachOptions&, const TransferProgress&, std::stop_token) {
  return AttachReport();
}
Result<ExportReport> export_bank_file(const std::filesystem::path&, const std::filesystem::path&,
                                      const TransferProgress&, std::stop_token) {
  return ExportReport();
}
Result<ExportReport> import_bank_file(const std::filesystem::path&, const std::filesystem::path&,
                                      const TransferProgress&, std::stop_token) {
  return ExportReport();
}
Result<ExportTextsReport> export_texts_file(const std::filesystem::path&,
                                            const std::filesystem::path&, const TransferProgress&,
                                            std::stop_token) {
  return ExportTextsReport();
}

}  // namespace msa
