# frozen_string_literal: true

require "test_helper"

class FlusherTest < Minitest::Test
  include JobtideTest

  def push(made, count, from = 0)
    count.times { |number| made.job_enqueued(made.job("sidekiq", "q", "C", (from + number).to_s)) }
  end

  def test_what_cannot_be_delivered_goes_again_under_the_same_number
    made = emitter
    @memory.down = true
    push(made, 5)
    refute Jobtide.flush(300)
    @memory.down = false
    push(made, 1, 5)
    events = flushed
    assert_equal((0..5).map(&:to_s), events.map { |event| event["subject"] }.sort)
    assert_equal 6, events.map { |event| event["id"] }.uniq.size
    assert_equal 1, @logged.string.scan("events wait").size
  end

  def test_a_flush_does_not_wait_for_a_receiver_known_to_be_down
    made = emitter
    @memory.down = true
    push(made, 1)
    Jobtide.flush(2000)
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    refute Jobtide.flush(2000)
    assert_operator Process.clock_gettime(Process::CLOCK_MONOTONIC) - began, :<, 0.5
  end

  def test_the_ring_stays_bounded_while_down_and_the_hole_is_counted
    made = emitter(8, queue_events: 100)
    @memory.down = true
    push(made, 5000)
    assert_operator made.ring.events, :<=, 100
    refute Jobtide.flush(100)
    @memory.down = false
    push(made, 1, 5000)
    events = flushed
    assert_equal 5001, events.size + made.ring.dropped
    assert_operator made.ring.dropped, :>, 4000
  end

  def test_a_transport_that_breaks_in_its_own_way_breaks_nothing_else
    made = emitter
    def @memory.deliver(_texts)
      @broken = (@broken || 0) + 1
      @broken < 3 ? raise("a mistake") : super
    end
    push(made, 3)
    eventually("delivery") { @memory.packs.any? }
    assert_equal 3, @memory.events.size
  end

  # Down, with a spool: events move to disk before the ring is full, and come back, each once, none dropped.
  def test_the_spool_takes_what_the_ring_cannot_hold
    Dir.mktmpdir do |directory|
      made = emitter(8, queue_events: 100, spool_dir: directory)
      @memory.down = true
      40.times do |burst|
        push(made, 20, burst * 20)
        eventually("room") { made.ring.events < 80 }
      end
      assert_operator made.spooled, :>, 300
      assert_equal 0, made.ring.dropped
      @memory.down = false
      eventually("the spool's end", 10) { @memory.events.map { |event| event["subject"] }.uniq.size == 800 }
      assert_equal 800, @memory.events.size
      Jobtide.close
      assert_empty Dir.children(directory)
      assert_operator @memory.of("emitter.stats").last["data"]["spooled"], :>, 300
    end
  end

  def test_the_spool_is_bounded_and_then_the_ring_drops
    Dir.mktmpdir do |directory|
      made = emitter(8, queue_events: 100, spool_dir: directory, spool_bytes: 65_536)
      @memory.down = true
      50.times do |burst|
        push(made, 20, burst * 20)
        sleep 0.005
      end
      eventually("a drop") { push(made, 20, 5000) || made.ring.dropped.positive? }
      assert_operator Dir.glob("#{directory}/*").sum { |path| File.size(path) }, :<=, 65_536
      assert_operator made.ring.events, :<=, 100
    end
  end

  def test_what_is_left_at_the_end_is_on_disk_and_the_next_process_delivers_it
    Dir.mktmpdir do |directory|
      made = emitter(8, spool_dir: directory)
      epoch = made.ring.epoch
      @memory.down = true
      push(made, 50)
      Jobtide.close(200)
      assert_match(/-#{epoch}\.jtspool\z/, Dir.children(directory).join("+"))
      made = emitter(8, spool_dir: directory)
      push(made, 1, 50)
      eventually("the dead one's events") { @memory.events.size == 51 }
      assert_equal 50, (@memory.events.count { |event| event["epoch"] == epoch })
      assert_equal((0..50).to_a, @memory.events.map { |event| event["subject"].to_i }.sort)
      eventually("the file's end") { push(made, 1, 99) || Dir.children(directory).none?(/#{epoch}/) }
    end
  end
end
