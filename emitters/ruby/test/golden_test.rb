# frozen_string_literal: true

require "test_helper"

# Lanes and sequence numbers by the contract's golden vectors: the same in every language, byte for byte.
class GoldenTest < Minitest::Test
  RANKS = { "beat" => Jobtide::Rank::BEAT, "step" => Jobtide::Rank::STEP, "end" => Jobtide::Rank::FINAL }.freeze

  def self.vectors(folder)
    Dir[File.join(JobtideTest::CONTRACT, "vectors", folder, "*.json")].sort.flat_map { |path| JSON.parse(File.read(path, encoding: "UTF-8")) }
  end

  def test_every_lane_is_met_and_is_the_contracts
    found = self.class.vectors("lanes")
    found.each { |vector| assert_equal vector["lane"], Jobtide::Lanes.of(vector["partitionkey"]), vector["partitionkey"] }
    assert_equal (0..63).to_a, found.map { |vector| vector["lane"] }.uniq.sort
  end

  vectors("sequences").each do |vector|
    define_method("test_#{vector['why']}") do
      ring = Jobtide::Ring.new(vector["max_events"], 1 << 20)
      vector["puts"].each { |lane, rank| ring.put("{}", lane, RANKS.fetch(rank)) }
      assert_equal vector["kept"], ring.take(1 << 20).map { |record| [record.lane, record.seq] }
      assert_equal vector["dropped"], ring.dropped
      assert_equal vector["next"], ring.next.each_with_index.filter_map { |number, lane| [lane.to_s, number] if number.positive? }.to_h
    end
  end
end
