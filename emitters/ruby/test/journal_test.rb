# frozen_string_literal: true

require "test_helper"

# Each event on disk before its hook returns.
class JournalTest < Minitest::Test
  include JobtideTest

  def setup
    super
    @directory = Dir.mktmpdir
  end

  def teardown
    super
    FileUtils.rm_rf(@directory)
  end

  def first_on_disk(**more)
    emitter(8, spool_dir: @directory, spool_first: true, **more)
  end

  def push(made, count)
    count.times { |number| made.job_enqueued(made.job("sidekiq", "default", "C", number.to_s)) }
  end

  # The receiver is down, the process is killed with everything in memory: the next one delivers all of it, once each.
  def test_a_killed_process_has_lost_nothing
    reader, writer = IO.pipe
    pid = fork do
      made = first_on_disk(linger_ms: 60_000)
      @memory.down = true
      push(made, 1500)
      writer.write(made.ring.epoch)
      writer.close
      sleep
    end
    writer.close
    epoch = reader.read
    Process.kill(:KILL, pid)
    Process.wait(pid)
    assert_operator Dir.children(@directory).size, :>, 2
    made = first_on_disk
    push(made, 1) # it has a reason to look
    eventually("all events of the dead", 15) { @memory.of("job.enqueued").count { |event| event["epoch"] == epoch } == 1500 }
    assert_equal (0...1500).to_a, @memory.of("job.enqueued").select { |event| event["epoch"] == epoch }.map { |event| event["subject"].to_i }.sort
    eventually("no files of the dead") { Dir.children(@directory).none? { |name| name.include?(epoch) } }
    no_errors
  end

  def test_what_is_acknowledged_is_not_kept
    made = first_on_disk
    50.times do
      push(made, 40)
      flushed
    end
    eventually("an empty directory", 15) { Dir.children(@directory).empty? }
    Jobtide.close
    assert_empty Dir.children(@directory)
    assert_equal 2000, @memory.of("job.enqueued").size
    no_errors
  end

  # Down, and longer than the journal may be: the spool has what it lets go, so that nothing is lost or told twice.
  def test_in_an_outage_it_is_bounded
    made = first_on_disk(queue_events: 100, spool_bytes: 2 << 20)
    @memory.down = true
    120.times do
      push(made, 20)
      eventually("room", 15) { made.ring.events < 80 }
    end
    assert_operator Dir.children(@directory).sum { |name| File.size(File.join(@directory, name)) }, :<, 5 << 20
    @memory.down = false
    eventually("delivery", 30) { @memory.of("job.enqueued").size >= 2400 }
    assert_equal 2400, @memory.of("job.enqueued").size
    Jobtide.close
    assert_empty Dir.children(@directory)
    assert_equal 0, made.ring.dropped
  end

  def test_a_clean_end_while_down_leaves_each_event_once
    made = first_on_disk
    @memory.down = true
    push(made, 100)
    Jobtide.close(200)
    assert_equal 1, Dir.children(@directory).size
    push(first_on_disk, 1)
    eventually("delivery") { @memory.of("job.enqueued").size == 101 }
  end

  def test_a_fork_has_its_own
    made = first_on_disk
    push(made, 1)
    flushed
    epoch = in_fork do
      @memory.down = true # the child's own copy
      push(made, 10)
      made.ring.epoch # and exit! follows
    end
    push(made, 1)
    before = @memory # whoever looks first for files of the dead
    push(first_on_disk, 1)
    eventually("the child's events", 15) { [before, @memory].sum { |memory| memory.of("job.enqueued").count { |event| event["epoch"] == epoch } } >= 10 }
  end

  def test_a_disk_that_refuses_is_no_error
    File.write(File.join(@directory, "file"), "")
    made = emitter(8, spool_dir: File.join(@directory, "file", "nowhere"), spool_first: true)
    push(made, 10)
    assert_equal 10, flushed.size
    assert_match(/not on disk first any more/, @logged.string)
    no_errors
  end
end
