#include "cli/testing/fake_msa.h"

namespace msa {

struct Model::Impl {};
struct TextTokenizer::Impl {};
struct Bank::Impl {};
struct Engine::Impl {};

namespace testing {

FakeLibrary& fake() {
  static FakeLibrary library;
  return library;
}

}  // namespace testing

using testing::fake;

namespace {

class NoDocuments : public DocumentSource {
  Result<std::optional<Document>> next() override { return std::optional<Document>(); }
};

// One token per byte.
std::vector<int32_t> bytes_of(std::string_view text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}
std::string text_of(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text += static_cast<char>(id);
  return text;
}

}  // namespace

std::string_view version() {
  return "1.2.3";
}
std::string_view code_name(Code) {
  return "code";
}

Result<std::unique_ptr<DocumentSource>> open_documents(
    const std::vector<std::filesystem::path>& paths, const ReaderOptions&) {
  fake().calls.push_back("open_documents");
  fake().document_paths = paths;
  return std::make_unique<NoDocuments>();
}

Result<Model> Model::open(const std::filesystem::path& folder, const ModelOptions& options) {
  fake().calls.push_back("Model::open");
  fake().model_path = folder;
  fake().model_options = options;
  if (fake().model_error) return *fake().model_error;
  return Model(std::make_shared<Impl>());
}
ModelInfo Model::info() const {
  return fake().model_info;
}
std::vector<int32_t> Model::tokenize(std::string_view text) const {
  return bytes_of(text);
}
std::string Model::detokenize(std::span<const int32_t> tokens) const {
  return text_of(tokens);
}

Result<TextTokenizer> TextTokenizer::open(const std::filesystem::path& file) {
  fake().tokenizer_path = file;
  return TextTokenizer(std::make_shared<Impl>());
}
std::vector<int32_t> TextTokenizer::tokenize(std::string_view text) const {
  return bytes_of(text);
}
std::string TextTokenizer::detokenize(std::span<const int32_t> ids) const {
  return text_of(ids);
}
size_t TextTokenizer::vocabulary_size() const {
  return 256;
}

std::vector<ModelShape> known_shapes() {
  ModelShape tiny;
  tiny.name = "tiny";
  tiny.layers = 4, tiny.hidden = 64, tiny.feed_forward = 128;
  tiny.query_heads = 4, tiny.kv_heads = 2, tiny.head_dim = 16;
  return {tiny};
}
Result<void> init_model(const std::filesystem::path& folder, const ModelShape& shape,
                        const std::filesystem::path& tokenizer_file, uint64_t seed) {
  fake().model_path = folder;
  fake().shape = shape;
  fake().tokenizer_path = tokenizer_file;
  fake().init_seed = seed;
  return {};
}
Result<void> convert_model(const std::filesystem::path& source, const std::filesystem::path& folder,
                           const ConvertOptions& options,
                           std::function<void(uint64_t, uint64_t)> progress, std::stop_token stop) {
  fake().convert_source = source;
  fake().model_path = folder;
  fake().convert_options = options;
  if (progress) progress(1, 4);
  if (fake().during_convert) fake().during_convert(stop);
  if (fake().convert_error) return *fake().convert_error;
  return {};
}

Result<Bank> Bank::open(const std::filesystem::path& folder) {
  fake().calls.push_back("Bank::open");
  fake().bank_path = folder;
  if (fake().bank_error) return *fake().bank_error;
  return Bank(std::make_shared<Impl>());
}
Result<Bank> Bank::open_or_create(const std::filesystem::path& folder, const Model&,
                                  const BankOptions& options) {
  fake().calls.push_back("Bank::open_or_create");
  fake().bank_options = options;
  fake().bank_path = folder;
  if (fake().bank_error) return *fake().bank_error;
  return Bank(std::make_shared<Impl>());
}
Result<BankInfo> Bank::info() const {
  return fake().bank_info;
}
Result<std::vector<StoredDocument>> Bank::list(uint32_t first, size_t limit) const {
  std::vector<StoredDocument> page;
  for (const StoredDocument& d : fake().documents)
    if (d.number >= first && page.size() < limit) page.push_back(d);
  return page;
}
Result<StoredDocument> Bank::document(uint32_t number) const {
  for (const StoredDocument& d : fake().documents)
    if (d.number == number) return d;
  return Error{Code::not_found, "no document " + std::to_string(number)};
}
Result<StoredDocument> Bank::document_by_id(std::string_view id) const {
  for (const StoredDocument& d : fake().documents)
    if (d.id == id) return d;
  return Error{Code::not_found, "no document '" + std::string(id) + "'"};
}
Result<VerifyReport> Bank::verify(std::function<void(uint64_t, uint64_t)> progress,
                                  std::stop_token stop) const {
  if (progress) progress(1, 2);
  fake().verify_can_stop = stop.stop_possible();
  return fake().verify;
}

Result<RemovalReport> Bank::remove(std::span<const std::string> ids,
                                   std::span<const uint32_t> numbers) {
  fake().removed_ids.assign(ids.begin(), ids.end());
  fake().removed_numbers.assign(numbers.begin(), numbers.end());
  if (fake().change_error) return *fake().change_error;
  return fake().removal;
}
Result<CompactReport> Bank::compact(const CompactOptions& options,
                                    std::function<void(uint64_t, uint64_t)> progress,
                                    std::stop_token) {
  fake().compact_options = options;
  if (fake().change_error) return *fake().change_error;
  if (progress) progress(1, 2);
  return fake().compaction;
}

Result<DamageReport> Bank::damage(std::function<void(uint64_t, uint64_t)> progress) const {
  fake().calls.push_back("Bank::damage");
  if (progress) progress(1, 2);
  return fake().damage;
}
Result<RepairReport> repair(const Model&, Bank&, const RepairOptions& options,
                            std::function<void(const RepairProgress&)> progress,
                            std::stop_token stop) {
  fake().calls.push_back("repair");
  fake().repair_options = options;
  if (fake().change_error) return *fake().change_error;
  if (progress) progress({RepairProgress::Stage::encoding, 1, 2});
  RepairReport report = fake().repair;
  report.stopped = stop.stop_requested();
  return report;
}

Result<EncodeReport> encode(const Model&, Bank&, DocumentSource&, const EncodeOptions& options,
                            std::function<void(const EncodeProgress&)> progress,
                            std::stop_token stop) {
  fake().encode_options = options;
  if (fake().encode_error) return *fake().encode_error;
  for (const EncodeProgress& now : fake().progress) progress(now);
  for (const DocumentProblem& problem : fake().problems) options.on_problem(problem);
  if (fake().during_encode) fake().during_encode(stop);
  EncodeReport report = fake().report;
  report.stopped = stop.stop_requested();
  return report;
}

Result<IndexReport> build_index(const Bank&, const IndexOptions& options,
                                std::function<void(const IndexProgress&)> progress,
                                std::stop_token) {
  fake().index_options = options;
  if (fake().change_error) return *fake().change_error;
  if (progress) progress({IndexProgress::Stage::building, 1, 2});
  return fake().index;
}

Result<Engine> Engine::create(const Model&, const Bank&, const EngineOptions& options) {
  fake().engine_options = options;
  if (fake().engine_error) return *fake().engine_error;
  return Engine(std::make_shared<Impl>());
}
EngineInfo Engine::info() const {
  return fake().engine_info;
}
Result<Routing> Engine::route(std::string_view question, size_t top_k) const {
  fake().questions.emplace_back(question);
  fake().top_k = top_k;
  if (question.empty()) return Error{Code::invalid_argument, "the question is empty"};
  return fake().routing;
}
Result<Answer> Engine::ask(std::string_view question, const AskOptions& options,
                           const TokenCallback& on_token, std::stop_token stop) const {
  fake().questions.emplace_back(question);
  fake().ask_options = options;
  if (fake().ask_error) return *fake().ask_error;
  if (question.empty()) return Error{Code::invalid_argument, "the question is empty"};
  for (const std::string& piece : fake().pieces)
    if (on_token && !on_token({TokenEvent::Kind::answer, piece, {}})) break;
  if (fake().during_ask) fake().during_ask(stop);
  Answer answer = fake().answer;
  if (stop.stop_requested()) answer.finish = "cancelled";
  return answer;
}

Result<BenchReport> benchmark(const Model&, const BenchOptions& options,
                              std::function<void(const BenchFigure&)> progress, std::stop_token) {
  fake().calls.push_back("benchmark");
  fake().bench_options = options;
  for (const BenchFigure& figure : fake().bench.figures) progress(figure);
  return fake().bench;
}
Result<BenchReport> benchmark_routing(const BenchOptions& options, int,
                                      std::function<void(const BenchFigure&)>, std::stop_token) {
  fake().calls.push_back("benchmark_routing");
  fake().bench_options = options;
  return fake().bench;
}

}  // namespace msa
