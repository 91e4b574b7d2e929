# frozen_string_literal: true

require "test_helper"

# The mapping vectors: what a backend's hook was given, and the exact events that must follow, in the format of
# emitters/contract. Played against the modules that the hooks call; that real workers give them just these things is
# tested with the real libraries. With JOBTIDE_PARITY_DIR the results are written there as ruby.json,
# {backend: {vector: "pass" | "fail"}}, for the table of all languages.
class MappingTest < Minitest::Test
  include JobtideTest

  VECTORS = File.join(JobtideTest::CONTRACT, "vectors/mappings")
  BACKENDS = %w[sidekiq resque delayed_job active_job shoryuken sneakers karafka].freeze
  STAND_INS = %w[resque shoryuken sneakers karafka].freeze
  HOST = "web-1"

  def self.installed?(backend)
    return false if backend == "sidekiq" && !Gem::Specification.any? { |spec| spec.name == "sidekiq" && spec.version < Gem::Version.new("6.5") } # see sidekiq_harness

    STAND_INS.include?(backend) || Gem::Specification.any? { |spec| spec.name == { "active_job" => "activejob" }.fetch(backend, backend) }
  end

  def play(mapping)
    @memory = Jobtide::Transports::Memory.new(1)
    Jobtide.configure(transport: -> { @memory }, linger_ms: 0, error_detail: "message", **mapping["settings"].transform_keys(&:to_sym))
    player = const(mapping["backend"]).new
    mapping["steps"].each do |step|
      wrote = at(step["clock"]) { player.public_send(step["hook"], step["native"]) }
      step.fetch("injects", {}).each { |part, expected| assert_equal expected, wrote[part].slice(*expected.keys) }
    end
    assert Jobtide.flush(5000)
    told = @memory.events.select { |event| event["type"].start_with?("job.") }
    assert_equal mapping["events"], (told.map { |event| event.slice("type", "time", "partitionkey", "data") })
    no_errors
  end

  def const(backend)
    require File.join(__dir__, "players", backend)
    Players.const_get(backend.split("_").map(&:capitalize).join)
  end

  def at(clock, &block)
    Jobtide::Moments.stub(:now_us, clock["wall_us"]) { Jobtide::Moments.stub(:monotonic_ns, clock["monotonic_ns"], &block) }
  end

  RESULTS = Hash.new { |results, backend| results[backend] = {} }

  # Every vector of a backend has to be there; where the backend is not installed, it has no result.
  BACKENDS.each do |backend|
    mappings = JSON.parse(File.read(File.join(VECTORS, "#{backend}.json")))
    next unless installed?(backend)

    mappings.each do |mapping|
      define_method("test_#{backend}_#{mapping['name']}") do
        RESULTS[backend][mapping["name"]] = "fail"
        play(mapping)
        RESULTS[backend][mapping["name"]] = "pass"
      end
    end
  end

  Minitest.after_run do
    directory = ENV.fetch("JOBTIDE_PARITY_DIR", "")
    File.write(File.join(directory, "ruby.json"), JSON.pretty_generate(RESULTS.sort.to_h.transform_values { |of| of.sort.to_h })) unless directory.empty?
  end

  # A vector's exception, raised, so that it has all that a real one has.
  def self.exception(native)
    kind = Object.const_get(native["class"])
    raise kind, native["message"]
  rescue Exception => e # rubocop:disable Lint/RescueException -- any class a vector names
    e
  end
end
