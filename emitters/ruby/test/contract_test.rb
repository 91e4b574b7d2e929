# frozen_string_literal: true

require "test_helper"

# The golden vectors of the contract: lanes and keys are the same in every language.
class ContractTest < Minitest::Test
  include JobtideTest

  VALID = Dir[File.join(JobtideTest::CONTRACT, "vectors/valid/*.json")].sort.freeze

  def test_there_are_vectors
    assert_operator VALID.size, :>=, 30
  end

  VALID.each do |path|
    define_method("test_lane_of_#{File.basename(path, '.json')}") do
      value = JSON.parse(File.read(path))
      (value.is_a?(Array) ? value : [value]).each do |event|
        next if event["lane"].nil? || event["type"].start_with?("worker.", "emitter.", "deploy.") # broadcasts choose theirs

        assert_equal event["lane"], Jobtide::Lanes.of(event["partitionkey"])
      end
    end
  end

  # A finished event of the vectors, made by this emitter from the same facts: the same data, key and lane.
  %w[job-finished job-failed job-started job-enqueued job-unicode-names].each do |name|
    define_method("test_#{name}_is_made_like_the_vector") do
      vector = JSON.parse(File.read(File.join(CONTRACT, "vectors/valid/#{name}.json")))
      data = vector["data"]
      @memory = Jobtide::Transports::Memory.new
      made = Jobtide.configure(transport: -> { @memory }, linger_ms: 0, tenant: data["tenant"], environment: data["environment"] || "default")
      job = made.job(data["system"], data["queue"], data["job_class"], data["job_id"], data["attempt"])
      made.job_enqueued(job)
      event = flushed[0]
      assert_equal vector.values_at("partitionkey", "lane", "subject"), event.values_at("partitionkey", "lane", "subject")
      assert_equal data.slice("tenant", "system", "queue", "job_class", "job_id", "attempt"), event["data"].except("environment")
    end
  end

  def test_kafka_partitions_of_packs
    made = emitter(16)
    100.times { |number| made.job_enqueued(made.job("celery", "q", "C", "id-#{number}")) }
    flushed
    assert_operator @memory.packs.map(&:partition).uniq.size, :>, 8
    @memory.packs.each do |pack|
      lanes = pack.texts.map { |text| Jobtide::Lanes.of(JSON.parse(text.json)["partitionkey"]) }
      assert_equal [pack.partition], lanes.map { |lane| lane % 16 }.uniq
      assert_operator pack.value.bytesize, :<=, 256 * 1024
    end
  end
end
