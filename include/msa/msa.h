// msa.h: the whole public interface of libmsa.
//
//   auto model  = msa::Model::open("models/MSA-4B");
//   auto bank   = msa::Bank::open_or_create("memory", *model);
//   auto source = msa::open_documents({"notes/"});
//   msa::encode(*model, *bank, **source);
//   auto engine = msa::Engine::create(*model, *bank);
//   auto answer = engine->ask("Who designed the bridge?");
//   puts(answer->text.c_str());
//
// Every call that can fail returns a Result (msa/result.h); no exception leaves the library. Model,
// Bank and Engine are cheap handles: a copy refers to the same thing. Text is UTF-8 everywhere.
//
// The method is Memory Sparse Attention (arXiv 2603.23516); docs/method.md explains it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "msa/document.h"  // Document, DocumentSource, open_documents
#include "msa/result.h"

namespace msa {

// The library's version, for example "0.1.0".
MSA_API std::string_view version();

// ---------------------------------------------------------------------------------------------
// Model
// ---------------------------------------------------------------------------------------------

enum class Precision {
  automatic,  // float32 for a float32 checkpoint, else bf16
  f32,
  bf16,
};

// How a question is compared with a chunk (paper section 3.2): `automatic` follows config.json
// (cosine only when aux_loss_method is exactly INFONCE).
enum class Similarity { automatic, cosine, dot };

enum class Severity { debug, info, warning, error };
using LogSink = std::function<void(Severity, std::string_view)>;

struct ModelOptions {
  Precision precision = Precision::automatic;
  Similarity similarity = Similarity::automatic;
  int threads = 0;    // 0: one per core this process may run on
  uint64_t seed = 0;  // for sampling; the same seed, build and threads give the same output
  LogSink log;        // may be called from any thread; empty: silent
};

struct ModelInfo {
  std::filesystem::path path;
  size_t layers = 0, query_heads = 0, kv_heads = 0, head_dim = 0, hidden = 0, feed_forward = 0;
  size_t vocabulary = 0, max_positions = 0;
  std::vector<int> router_layers;
  size_t chunk_size = 0;  // tokens averaged into one pooled key (P)
  size_t top_k = 0;       // documents attended to per router layer (k)
  std::string similarity, head_reduce, query_reduce, chunk_reduce;
  bool decoupled_router = false, tied_embeddings = false;
  bool skip_handed_over = false;      // see AskOptions
  std::string file_dtype, precision;  // of the checkpoint, of the computation
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;  // in memory, packed
  uint64_t chunk_bytes = 0;   // bank bytes per chunk, all router layers
  std::string fingerprint;    // of config and weights, hexadecimal
  std::string note;  // config.json's "msa_cpp_note"; `msa model init` says "random weights"
  bool random_weights = false;  // the checkpoint says that nothing was trained
  std::string backend;          // for example "cpu: AVX3, 2 threads"
};

// An open checkpoint. Handles may be used from many threads.
class MSA_API Model {
 public:
  // Opens a Hugging Face folder: config.json, model.safetensors (or shards and their index),
  // tokenizer.json, generation_config.json (optional). Everything is checked.
  static Result<Model> open(const std::filesystem::path& folder, const ModelOptions& options = {});

  ModelInfo info() const;
  std::vector<int32_t> tokenize(std::string_view text) const;
  std::string detokenize(std::span<const int32_t> tokens) const;

  struct Impl;
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

// A tokenizer without its model: `file` is a tokenizer.json.
class MSA_API TextTokenizer {
 public:
  static Result<TextTokenizer> open(const std::filesystem::path& file);
  std::vector<int32_t> tokenize(std::string_view text) const;
  std::string detokenize(std::span<const int32_t> tokens) const;
  size_t vocabulary_size() const;

  struct Impl;
  explicit TextTokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// The shape of a checkpoint to be made.
struct ModelShape {
  std::string name = "custom";
  size_t layers = 0, hidden = 0, feed_forward = 0, query_heads = 0, kv_heads = 0, head_dim = 0;
  size_t vocabulary = 0;  // 0: the tokenizer's, rounded up to a multiple of 64
  size_t chunk_size = 64, top_k = 16;
  double rope_theta = 5e6;
  bool tied_embeddings = true, decoupled_router = true;
  std::vector<int> router_layers;  // empty: the upper half
  Precision precision = Precision::bf16;
};
// "tiny", "0.6b", "1.7b", "4b" (MSA-4B's shape).
MSA_API std::vector<ModelShape> known_shapes();
// Writes a checkpoint with random weights (normal, standard deviation 0.02, residual outputs scaled
// by 1/sqrt(2L)) and a copy of `tokenizer_file` into `folder`, which must not hold one already.
MSA_API Result<void> init_model(const std::filesystem::path& folder, const ModelShape& shape,
                                const std::filesystem::path& tokenizer_file, uint64_t seed);

// What the router projections of a converted model begin as: normal(0, 0.02), or copies of their
// layers' q_proj and k_proj.
enum class RouterStart { random, copy };

struct ConvertOptions {
  RouterStart router = RouterStart::random;
  std::vector<int> router_layers = {};  // empty: the upper half
  size_t chunk_size = 64, top_k = 16;
  uint64_t seed = 0;  // of random projections
};
// Makes a model with a router, to be trained, of a plain Qwen3 checkpoint (model_type "qwen3", one
// file or several): the same weights in the same dtypes, tokenizer.json and generation_config.json.
// Weights stream through, memory does not grow with the model. `folder` must not be there; it
// appears when it is whole. `progress(done bytes, all bytes)`; on a stop request nothing is kept.
MSA_API Result<void> convert_model(const std::filesystem::path& source,
                                   const std::filesystem::path& folder,
                                   const ConvertOptions& options = {},
                                   std::function<void(uint64_t, uint64_t)> progress = {},
                                   std::stop_token stop = {});

// ---------------------------------------------------------------------------------------------
// Bank: the memory on disk
// ---------------------------------------------------------------------------------------------

struct BankInfo {
  std::filesystem::path path;
  uint64_t documents = 0, chunks = 0, tokens = 0, segments = 0;
  uint64_t key_bytes = 0, content_bytes = 0;  // routing keys; pooled keys and values
  uint64_t text_bytes = 0, disk_bytes = 0;
  uint64_t aliases = 0;      // further ids of documents, given with the same title and text
  uint64_t dead_chunks = 0;  // of removed documents, not counted above; compact() frees their room
  std::vector<int> router_layers;
  size_t kv_heads = 0, head_dim = 0, chunk_size = 0;
  std::string dtype, similarity, model_fingerprint, tokenizer_fingerprint;
  std::string content;  // of pooled keys and values: as dtype, of routing keys, or "int8"
};

struct StoredDocument {
  uint32_t number = 0;
  std::string id, title, source, text;  // text: as given, without the title
  uint64_t char_begin = 0, char_end = 0;
  uint64_t tokens = 0, chunks = 0;
  std::vector<std::string> aliases = {};  // further ids
};

struct RemovalReport {
  uint64_t names = 0;      // ids taken away
  uint64_t documents = 0;  // that went with them, having no other
};

struct CompactOptions {
  uint64_t segment_bytes = 128u << 20;  // smaller segments are merged up to this
};

struct CompactReport {
  uint64_t segments_before = 0, segments_after = 0;
  uint64_t removed_chunks = 0;                 // of removed documents, gone now
  uint64_t bytes_before = 0, bytes_after = 0;  // of all segment files
  bool stopped = false;                        // by the stop token; what was done is committed
};

struct VerifyReport {
  uint64_t segments = 0, documents = 0, bytes = 0;
  std::vector<std::string> problems;  // empty: everything is as it was written
};

struct DamagedDocument {
  int64_t number = 0;
  std::string id;
};

// What repair() would mend.
struct DamageReport {
  std::vector<std::string> problems;           // as verify() lists them
  std::vector<std::string> segments;           // files that are missing or damaged
  std::vector<DamagedDocument> lost;           // were in these; can be encoded again
  std::vector<DamagedDocument> beyond_repair;  // their titles or texts are damaged
  std::vector<std::string> orphans;            // segment files that belong to nothing
  uint64_t stray_ids = 0;                      // further ids of documents that are not there
  // Everything is as it was written.
  bool none() const {
    return problems.empty() && segments.empty() && lost.empty() && beyond_repair.empty() &&
           orphans.empty() && stray_ids == 0;
  }
};

// How a bank stores pooled keys and values; routing keys are in the model's precision always.
enum class ContentType {
  automatic,  // as the bank has them; in a new one, in the model's precision
  f32,        // for a model that computes in float32
  bf16,       // for one that computes in bf16
  int8,       // 8 bits a value, and a float32 scale for each head of each pooled key and value
};

struct BankOptions {
  // Fixed when a bank is made. Another one than an existing bank's is a `mismatch` error.
  ContentType content = ContentType::automatic;
};

// A folder of encoded documents (docs/memory-bank.md).
class MSA_API Bank {
 public:
  // Opens for reading; works without a model.
  static Result<Bank> open(const std::filesystem::path& folder);
  // Opens for encoding with `model`, or makes a new one. A bank that another model made is a
  // `mismatch` error.
  static Result<Bank> open_or_create(const std::filesystem::path& folder, const Model& model,
                                     const BankOptions& options = {});

  Result<BankInfo> info() const;
  // Up to `limit` documents with numbers of at least `first`, without their texts.
  Result<std::vector<StoredDocument>> list(uint32_t first, size_t limit) const;
  Result<StoredDocument> document(uint32_t number) const;
  Result<StoredDocument> document_by_id(std::string_view id) const;  // its own or an alias
  // Reads everything back and compares checksums; `progress(done bytes, all bytes)`. On a stop
  // request it ends soon: a `cancelled` error.
  Result<VerifyReport> verify(std::function<void(uint64_t, uint64_t)> progress = {},
                              std::stop_token stop = {}) const;
  // Reads everything back and says what repair() would do; `progress(done bytes, all bytes)`.
  Result<DamageReport> damage(std::function<void(uint64_t, uint64_t)> progress = {}) const;

  // Removes, in one commit, the documents with these numbers under all their ids, and what was
  // encoded under these ids: the document, or the passages "id#1", "id#2", … of a long text. A
  // document that has another id stays under that one. Anything that is not there is a `not_found`
  // error, and nothing is removed. Queries that run see the documents until they end.
  Result<RemovalReport> remove(std::span<const std::string> ids,
                               std::span<const uint32_t> numbers = {});
  // Rewrites the segments that hold chunks of removed documents and merges small ones, segment by
  // segment; numbers stay. On a stop request it ends after the segment at hand. Damaged segments
  // are not copied: a `corrupt` error names the first. `progress(done bytes, all bytes)`.
  Result<CompactReport> compact(const CompactOptions& options = {},
                                std::function<void(uint64_t, uint64_t)> progress = {},
                                std::stop_token stop = {});

  struct Impl;
  explicit Bank(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

// ---------------------------------------------------------------------------------------------
// Encoding
// ---------------------------------------------------------------------------------------------

struct EncodeOptions {
  size_t passage_tokens = 512;  // longer texts are split at paragraph, then sentence borders
  size_t batch_tokens = 2048;   // tokens encoded together
  uint64_t segment_bytes = 128u << 20;  // commit after so much
  // A document whose id is there with another text: false, it is a problem, reported and left out;
  // true, the new text takes the old one's place, all its passages in one commit, under new
  // numbers.
  bool replace = false;
  std::function<void(const DocumentProblem&)> on_problem;
};

struct EncodeProgress {
  DocumentCounts input;
  uint64_t documents = 0;  // of the source, gone through: encoded, known or rejected
  uint64_t passages = 0, tokens = 0, chunks = 0;  // encoded by this call
  uint64_t already_there = 0;                     // passages that needed no encoding
  uint64_t duplicates =
      0;                  // passages whose text is there under another id: now it has this one too
  uint64_t replaced = 0;  // passages of the bank that made room for new ones
  double seconds = 0, tokens_per_second = 0;
  std::optional<double> seconds_left;
};

struct EncodeReport : EncodeProgress {
  bool stopped = false;   // by the stop token; what was encoded is committed
  uint64_t rejected = 0;  // passages that model or bank would not take; on_problem has the reasons
};

// Encodes every document of `source` into `bank`. A document that is there already (same id, same
// text) is passed over, so a stopped run is resumed by running it again. One whose title and text
// are there under another id is not encoded again: its id becomes an alias of that document. On a
// stop request the documents encoded so far are committed.
MSA_API Result<EncodeReport> encode(const Model& model, Bank& bank, DocumentSource& source,
                                    const EncodeOptions& options = {},
                                    std::function<void(const EncodeProgress&)> progress = {},
                                    std::stop_token stop = {});

struct RepairOptions {
  size_t batch_tokens = 2048;           // tokens encoded together
  uint64_t segment_bytes = 128u << 20;  // commit after so much
  // Documents that are beyond repair: false, an error that names the first, and nothing is done;
  // true, they are taken out of the bank.
  bool drop_lost = false;
};

struct RepairProgress {
  enum class Stage { reading, encoding, verifying } stage = Stage::reading;
  uint64_t done = 0, all = 0;  // bytes; documents while encoding
};

struct RepairReport {
  DamageReport damage;                 // that was found
  uint64_t documents = 0, tokens = 0;  // encoded again
  uint64_t dropped = 0;                // documents beyond repair
  bool stopped = false;                // by the stop token; what was done is committed
  std::vector<std::string> left;       // problems that verify() finds afterwards
};

// Drops what is damaged in the bank and encodes the documents that were in it again, from their
// texts. They keep their numbers and ids. `model` has to be the one that made the bank. A bank
// without damage stays as it is.
MSA_API Result<RepairReport> repair(const Model& model, Bank& bank,
                                    const RepairOptions& options = {},
                                    std::function<void(const RepairProgress&)> progress = {},
                                    std::stop_token stop = {});

// ---------------------------------------------------------------------------------------------
// An index for approximate routing
// ---------------------------------------------------------------------------------------------

// What FAISS keeps of each routing key, in lists of keys that are close to each other.
enum class IndexType {
  ivf,    // 8 bits a value: half of bf16
  ivfpq,  // 8 bits for each 8 values (product quantisation): a sixteenth of bf16; at least 256
          // chunks
};

struct IndexOptions {
  IndexType type = IndexType::ivf;
  size_t lists = 0;      // per layer; 0: four times the root of the number of chunks
  double recall = 0.98;  // share of the exact scan's 16 best to be found, above 0 and at most 1
  uint64_t seed = 1;
  int threads = 0;  // 0: one per core; with a model, the model's
  // What recall is measured with: questions through the model that made the bank. Without, keys of
  // the bank with noise, 4 to a question.
  std::optional<Model> model = {};
  std::vector<std::string> questions = {};
};

struct IndexedLayer {
  int layer = 0;
  size_t probes = 0;      // lists that a routing token looks into
  size_t candidates = 0;  // documents that are scored in full, at most, for each one wanted
  double recall = 0;      // measured with questions that did not choose the two
  double question_bytes = 0, exact_bytes = 0;  // read per question: this way, by the exact scan
  uint64_t bytes = 0;                          // of the index
};

struct IndexReport {
  size_t lists = 0;                    // per layer
  uint64_t documents = 0, chunks = 0;  // indexed
  uint64_t left_out = 0;  // chunks of segments with values that are not finite: scanned
  bool real_questions = false;
  size_t questions = 0;        // half of them chose `probes`, the others measured
  double question_tokens = 0;  // that route, on average
  std::vector<IndexedLayer> layers;
  double recall = 0;                           // mean over the layers
  double question_bytes = 0, exact_bytes = 0;  // sums over the layers
  uint64_t bytes = 0;                          // on disk
  double build_seconds = 0, measure_seconds = 0;
};

struct IndexProgress {
  enum class Stage { asking, building, measuring } stage = Stage::building;
  uint64_t done = 0, all = 0;  // questions; chunks over all layers
};

// Builds an index of the bank's documents beside its segments, in the place of an older one, and
// measures it. Documents that come later are scanned; those of segments that a compaction replaces
// as well. On a stop request nothing is kept: a `cancelled` error. `unsupported` in a build without
// FAISS, and for a model that does not reduce heads by mean and tokens and chunks by max.
MSA_API Result<IndexReport> build_index(const Bank& bank, const IndexOptions& options = {},
                                        std::function<void(const IndexProgress&)> progress = {},
                                        std::stop_token stop = {});

// ---------------------------------------------------------------------------------------------
// Routing and answering
// ---------------------------------------------------------------------------------------------

struct RoutedDocument {
  uint32_t number = 0;
  std::string id;
  float score = 0;
};
struct LayerRouting {
  int layer = 0;
  std::vector<RoutedDocument> documents;  // best first
  // With keys as int8 or int4 (KeyTier), or with an index: how many documents were scored again
  // with the keys in full, and whether no other can have been among the best.
  size_t rescored = 0;
  bool certain = true;
};
struct Routing {
  std::vector<LayerRouting> layers;
  // Over all router layers: by the number of layers that chose the document, then by mean score
  // over those layers, then by number. `score` is the share of layers plus, as a tie-break, the
  // mean score squeezed below one layer's worth.
  std::vector<RoutedDocument> ranking;
};

enum class Retrieval {
  interleave,  // the model writes the numbers of the documents it wants (the published method)
  router,      // the best-routed documents are handed to it without asking
};

struct AskOptions {
  size_t top_k = 0;  // documents per router layer; 0: the model's
  Retrieval retrieval = Retrieval::interleave;
  bool constrain_numbers = true;  // generated numbers only of documents that were routed to
  size_t router_documents = 4;    // Retrieval::router: how many texts are handed over
  bool original_text = true;  // hand over the documents' text; false: answer from the memory alone
  // Later rounds route to documents that were not handed over yet; default: the model's. For models
  // that were trained so; the published method routes to all of them again.
  std::optional<bool> skip_handed_over;
  size_t max_rounds = 8;
  size_t max_retrieval_characters = 1000;  // per round
  size_t max_tokens = 2048;                // prompt not counted; all rounds and the answer
  float temperature = 0;                   // 0: greedy
  float top_p = 0.9f;                      // 0 < top_p <= 1; used when temperature > 0
  std::optional<uint64_t> seed;            // default: the model's
};

struct Citation {
  uint32_t number = 0;
  std::string id, title, source, text;
  uint64_t char_begin = 0, char_end = 0;
};

struct Round {
  std::string generated;          // what the model wrote, or empty
  std::vector<uint32_t> numbers;  // the new documents it brought, ascending
  Routing routing;                // what this round's routing found
};

struct Timing {
  double encode_question_ms = 0;  // prompt processing without routing, all rounds
  double route_ms = 0;            // routing and fetching winners, all rounds
  double first_token_ms = 0;      // from the call to the first generated token
  double generate_ms = 0, total_ms = 0;
  double tokens_per_second = 0;  // generated tokens over generate_ms
};

struct Usage {
  uint64_t prompt_tokens = 0, completion_tokens = 0;
};

struct Answer {
  std::string text;
  std::vector<Round> rounds;
  std::vector<Citation> citations;  // documents whose text was handed over, in the order it was
  Routing routing;                  // of the first round
  Timing timing;
  Usage usage;
  std::string finish;  // "stop", "length" or "cancelled"
};

// What the model writes, as it writes it.
struct TokenEvent {
  enum class Kind {
    retrieval,  // document numbers, before the answer
    documents,  // texts were handed over; `numbers` says which
    answer,     // a piece of the answer
  } kind = Kind::answer;
  std::string_view text;
  std::span<const uint32_t> numbers;
};
// Return false to stop.
using TokenCallback = std::function<bool(const TokenEvent&)>;

// How the routing keys, which every question reads from end to end, are held. With int8 and int4
// they are copied into memory in a half or a quarter of bf16's room; the documents that may be
// among the best by them are scored again with the keys in full, so that the same are chosen, with
// the same scores: always with int8, all but always with int4.
enum class KeyTier {
  automatic,  // the first of those below that fits the memory available, or the limit
  full,       // as the bank has them, mapped from the disk
  int8,
  int4,
};

// Where pooled keys and values are, of which every question reads those of the documents that it is
// routed to.
enum class ContentTier {
  mapped,  // on the disk, as the bank has them: what was read lately stays in memory while it can
  held,    // all of them copied into memory, in the bank's format
};

// Which chunks a question is compared with.
enum class RoutingMode {
  exact,  // all
  // Those that the bank's index (build_index) holds for near, and all chunks it does not know. The
  // documents found are scored with the keys in full, so that scores are exact and only recall can
  // suffer. An index that is missing, damaged or stale is a warning, and routing is then exact.
  approximate,
};

struct EngineOptions {
  KeyTier keys = KeyTier::automatic;
  ContentTier content = ContentTier::mapped;
  // What this process may take, with the model that is open already; 0: what the system has. Pooled
  // keys and values that are to be held come first, routing keys get what they leave. What does not
  // fit is a `no_space` error.
  uint64_t memory_limit = 0;
  // Approximate routing in a build without FAISS, or with a model that does not reduce heads by
  // mean and tokens and chunks by max, is an `unsupported` error.
  RoutingMode routing = RoutingMode::exact;
};

struct EngineInfo {
  std::string keys;          // "F32", "BF16", "int8" or "int4"
  uint64_t key_bytes = 0;    // of the routing keys so held
  uint64_t index_bytes = 0;  // mapped; 0: routing is exact
  ContentTier content = ContentTier::mapped;
  uint64_t content_bytes = 0;  // of pooled keys and values held in memory; 0: they are mapped
};

// A model with a memory. Each call runs alone; calls from several threads take turns.
class MSA_API Engine {
 public:
  // A bank that was made with another model is a `mismatch` error. Compressed keys, and copies of
  // pooled keys and values that are to be held, are made here, which reads all of the bank's; of
  // what is added to the bank later, when a question is asked.
  static Result<Engine> create(const Model& model, const Bank& bank,
                               const EngineOptions& options = {});

  EngineInfo info() const;

  Result<Routing> route(std::string_view question, size_t top_k = 0) const;
  Result<Answer> ask(std::string_view question, const AskOptions& options = {},
                     const TokenCallback& on_token = {}, std::stop_token stop = {}) const;

  struct Impl;
  explicit Engine(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

// ---------------------------------------------------------------------------------------------
// Benchmarks
// ---------------------------------------------------------------------------------------------

// One measurement and the limit it is a share of, both from the same run.
struct BenchFigure {
  std::string name;  // "encode"
  std::string unit;  // "tokens/s"
  double value = 0;
  std::string limit_name;  // "bf16 matrix product rate of the model's shapes"
  double limit = 0;        // in `unit`
  double share = 0;        // value / limit; 0 where there is no limit
  std::string note;
};
struct BenchReport {
  std::string machine;  // processor, cores, instruction set, memory
  std::string model;    // shape and precision
  std::vector<BenchFigure> figures;
  uint64_t peak_resident_bytes = 0;
};
struct BenchOptions {
  bool encode = true, generate = true, route = true;
  size_t encode_tokens = 8192;  // in documents of 256
  size_t generate_tokens = 160;
  size_t route_chunks = 200'000;  // of MSA-4B's shape
  size_t route_tokens = 40;
  bool index = false;            // approximate routing against exact
  size_t index_chunks = 50'000;  // of MSA-4B's shape, in clusters
  uint64_t seed = 1;
};
// Measures on synthetic documents, questions and keys. `progress` gets each figure as it is known.
MSA_API Result<BenchReport> benchmark(const Model& model, const BenchOptions& options = {},
                                      std::function<void(const BenchFigure&)> progress = {},
                                      std::stop_token stop = {});
// Routing and the index need no model.
MSA_API Result<BenchReport> benchmark_routing(const BenchOptions& options = {}, int threads = 0,
                                              std::function<void(const BenchFigure&)> progress = {},
                                              std::stop_token stop = {});

}  // namespace msa

#include "msa/transfer.h"  // encode_shard, attach, export and import
