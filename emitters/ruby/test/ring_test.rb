# frozen_string_literal: true

require "test_helper"

class RingTest < Minitest::Test
  Rank = Jobtide::Rank

  def ring(events = 10, bytes = 100_000)
    Jobtide::Ring.new(events, bytes)
  end

  def test_numbers_each_lane_from_zero
    made = ring
    [3, 3, 5, 3].each { |lane| made.put("{}", lane, Rank::STEP) }
    assert_equal [[3, 0], [3, 1], [5, 0], [3, 2]], made.take(1000).map { |record| [record.lane, record.seq] }
    assert_equal 3, made.next[3]
  end

  def test_a_drop_leaves_a_hole_heartbeats_first_ends_last
    made = ring(3)
    [Rank::FINAL, Rank::BEAT, Rank::STEP, Rank::FINAL, Rank::FINAL].each_with_index { |rank, number| made.put(number.to_s, 0, rank) }
    assert_equal %w[0 3 4], made.take(1000).map(&:raw)
    assert_equal 2, made.dropped
    assert_equal 5, made.next[0] # 1 and 2 have had their numbers
  end

  def test_when_only_ends_are_left_the_oldest_goes
    made = ring(2)
    3.times { |number| made.put(number.to_s, 0, Rank::FINAL) }
    assert_equal %w[1 2], made.take(1000).map(&:raw)
  end

  def test_bounded_in_bytes
    made = ring(1000, 100)
    20.times { made.put("x" * 20, 1, Rank::STEP) }
    assert_equal 5, made.events
    assert_equal 100, made.bytes
    assert_equal 15, made.dropped
  end

  def test_order_is_kept_across_ranks
    made = ring(100)
    [2, 0, 1, 2, 0].each_with_index { |rank, number| made.put(number.to_s, 0, rank) }
    assert_equal %w[0 1 2 3 4], made.take(1 << 20).map(&:raw)
  end

  def test_unnumbered_events_take_no_lane_number
    made = ring
    made.put("{}", Jobtide::UNNUMBERED, Rank::STEP)
    assert_equal [0] * 64, made.next
  end

  def test_threads_share_numbers_without_a_gap
    made = ring(100_000)
    Array.new(4) { Thread.new { 1000.times { made.put("{}", 7, Rank::STEP) } } }.each(&:join)
    assert_equal (0...4000).to_a, made.take(1 << 30).map(&:seq).sort
  end

  def test_every_ring_has_an_epoch_of_its_own
    assert_equal 16, ring.epoch.length
    refute_equal ring.epoch, ring.epoch
  end
end
