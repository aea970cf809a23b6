// Repairing a bank: the documents of damaged segments are encoded again.
#include "memory/repair.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/bank_handle.h"
#include "engine/guard.h"
#include "engine/model_handle.h"
#include "text/prompt.h"

namespace msa {
namespace {

std::vector<DamagedDocument> documents_of(std::vector<BankDamage::Document> documents) {
  std::vector<DamagedDocument> all;
  all.reserve(documents.size());
  for (BankDamage::Document& d : documents) all.push_back({d.number, std::move(d.id)});
  return all;
}

DamageReport report_of(BankDamage damage) {
  DamageReport report;
  report.problems = std::move(damage.problems);
  report.segments = std::move(damage.segments);
  report.lost = documents_of(std::move(damage.lost));
  report.beyond_repair = documents_of(std::move(damage.hopeless));
  report.orphans = std::move(damage.orphans);
  report.stray_ids = damage.stray_aliases;
  return report;
}

}  // namespace

Result<DamageReport> Bank::damage(std::function<void(uint64_t, uint64_t)> progress) const {
  return guarded("looking for damage", [&]() -> Result<DamageReport> {
    MSA_ASSIGN(const auto repair,
               BankRepair::open(impl_->reader->folder(), Catalogue::Access::read));
    MSA_ASSIGN(BankDamage damage, repair->inspect(progress));
    return report_of(std::move(damage));
  });
}

Result<RepairReport> repair(const Model& model, Bank& bank, const RepairOptions& options,
                            std::function<void(const RepairProgress&)> progress,
                            std::stop_token stop) {
  return guarded("repairing the bank", [&]() -> Result<RepairReport> {
    const Model::Impl& impl = model.impl();
    const std::filesystem::path& folder = bank.impl().reader->folder();
    using Stage = RepairProgress::Stage;
    const auto stage = [&](Stage now) -> BankRepair::Progress {
      return [&progress, now](uint64_t done, uint64_t all) {
        if (progress) progress({now, done, all});
      };
    };
    RepairReport report;
    {
      MSA_ASSIGN(const auto repair, BankRepair::open(folder, Catalogue::Access::write));
      MSA_TRY(check_manifest(repair->manifest(), impl.manifest(), folder));
      MSA_ASSIGN(BankDamage damage, repair->inspect(stage(Stage::reading)));
      report.damage = report_of(std::move(damage));
      if (report.damage.none()) return report;

      Encoder encoder(*impl.backend, impl.weights);
      RepairEncoder encode;
      encode.batch_tokens = std::max<size_t>(options.batch_tokens, 1);
      encode.segment_bytes = std::max<uint64_t>(options.segment_bytes, 1);
      encode.tokenize = [&](uint32_t number, std::string_view title, std::string_view text) {
        return document_tokens(*impl.tokenizer, number, document_text(title, text));
      };
      encode.encode = [&](auto documents) -> Result<EncodedBatch> {
        const std::lock_guard lock(impl.busy);  // questions may be answered between batches
        EncodedBatch batch;
        MSA_TRY(encoder.encode(documents, impl.weights->compute, false, batch));
        impl.weights->checkpoint->drop(kEmbeddingTensor);
        return batch;
      };
      MSA_ASSIGN(const RepairOutcome outcome,
                 repair->run(encode, options.drop_lost, stage(Stage::encoding), stop));
      report.documents = outcome.documents;
      report.tokens = outcome.tokens;
      report.dropped = outcome.dropped;
      report.stopped = outcome.stopped;
    }
    if (report.stopped) return report;
    MSA_ASSIGN(const auto reader, BankReader::open(folder));
    MSA_ASSIGN(BankReader::Report after, reader->verify(stage(Stage::verifying)));
    report.left = std::move(after.problems);
    return report;
  });
}

}  // namespace msa
