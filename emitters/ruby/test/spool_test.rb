# frozen_string_literal: true

require "test_helper"
require "jobtide/handover"

class SpoolTest < Minitest::Test
  include JobtideTest

  def setup
    super
    @directory = Dir.mktmpdir
  end

  def teardown
    FileUtils.rm_rf(@directory)
    super
  end

  def texts(*numbers)
    numbers.map { |number| Jobtide::Packs::Text.new(number % 64, %({"type":"x","data":{},"lane":#{number % 64},"seq":#{number}})) }
  end

  def spool(epoch = "e1", bytes = 1 << 20)
    Jobtide::Spool.new(@directory, "target", epoch, bytes)
  end

  def left_by_a_dead_process(numbers, &damage)
    path = spool("dead").tap { |made| made.write(texts(*numbers)) }.then { |made| made.close || made.path }
    damage&.call(path)
    path
  end

  def orphans
    found = Jobtide::Orphans.new(@directory, "target")
    read = []
    while (batch = found.take(1 << 20))
      read.concat(batch.texts.map(&:json))
      found.delivered(batch)
    end
    read
  end

  def test_what_is_written_is_read_and_the_file_shrinks
    made = spool
    assert_equal 3, made.write(texts(1, 2, 70))
    read, offset = made.read(1 << 20)
    assert_equal texts(1, 2, 70), read
    made.delivered(offset)
    refute made.pending?
    assert_equal 8, File.size(made.path)
    made.write(texts(4))
    assert_equal texts(4), made.read(1 << 20)[0]
  end

  def test_bounded_in_bytes_what_lies_there_counts
    left_by_a_dead_process(1..100)
    used = File.size(Jobtide::SpoolFile.path(@directory, "target", "dead"))
    made = spool("e1", used + 500)
    kept = made.write(texts(*1..100))
    assert_operator kept, :<, 12
    assert_operator File.size(made.path), :<=, 500
  end

  def test_a_torn_tail_is_ignored_at_every_length
    whole = left_by_a_dead_process(1..3)
    bytes = File.binread(whole)
    expected = texts(*1..3).map(&:json)
    record = SpoolRecordSize.of(texts(1)[0])
    (8...bytes.size).step(7).each do |length|
      File.binwrite(whole, bytes[0, length])
      assert_equal expected.first((length - 8) / record), orphans
      refute File.exist?(whole)
    end
  end

  module SpoolRecordSize
    def self.of(text)
      8 + text.json.bytesize
    end
  end

  def test_a_flipped_bit_ends_the_file
    left_by_a_dead_process(1..3) do |path|
      bytes = File.binread(path)
      bytes.setbyte(-5, bytes.getbyte(-5) ^ 1)
      File.binwrite(path, bytes)
    end
    assert_equal texts(1, 2).map(&:json), orphans
    assert_match(/torn/, @logged.string)
  end

  def test_what_is_bound_for_elsewhere_is_left_alone
    Jobtide::Spool.new(@directory, "elsewhere", "e2", 1 << 20).tap { |made| made.write(texts(1)) }.close
    File.write(File.join(@directory, "00000000-x.spool"), "another language's")
    assert_equal [[], 2], [orphans, Dir.children(@directory).size]
  end

  def test_a_living_process_keeps_its_file
    made = spool
    made.write(texts(1))
    assert_equal [[], true], [orphans, File.exist?(made.path)]
    made.close
    assert_equal texts(1).map(&:json), orphans
  end

  def test_a_process_that_was_killed_while_it_wrote
    reader, writer = IO.pipe
    pid = fork do
      made = Jobtide::Spool.new(@directory, "target", "killed", 1 << 24)
      number = 0
      loop do
        made.write(texts(number += 1))
        writer.write(".") if number == 200
      end
    end
    reader.read(1)
    Process.kill(:KILL, pid)
    Process.wait(pid)
    read = orphans.map { |json| JSON.parse(json)["seq"] }
    assert_operator read.size, :>=, 200
    assert_equal (1..read.size).to_a, read
  end

  def test_a_disk_that_refuses_is_no_error
    File.write(File.join(@directory, "file"), "")
    made = Jobtide::Spool.new(File.join(@directory, "file", "nowhere"), "target", "e", 1 << 20)
    assert_equal 0, made.write(texts(1))
    assert_match(/the spool cannot be written/, @logged.string)
  end

  def test_children_that_hand_over
    made = emitter(8, spool_dir: @directory)
    handover = Jobtide::Handover.new(made.settings)
    made.hand_over(handover)
    alive, tell = IO.pipe
    pid = fork do
      tell.close
      made.job_started(made.job("resque", "q", "C", "1"), "w")
      alive.read # until the parent has seen it
      made.job_dead(made.job("resque", "q", "C", "1"), { "class" => "E" })
      Jobtide.close
      exit!(0)
    end
    eventually("the living child's event") { @memory.of("job.started").any? }
    tell.close
    Process.wait(pid)
    eventually("its last events") { @memory.of("job.dead").any? && @memory.of("emitter.stats").any? { |event| event["data"]["clean"] } }
    refute_equal made.ring.epoch, @memory.of("job.started")[0]["epoch"]
    eventually("an empty directory") { Dir.children(@directory).empty? }
    no_errors
  end

  def test_a_child_that_is_killed_has_told_what_it_did
    made = emitter(8, spool_dir: @directory)
    made.hand_over(Jobtide::Handover.new(made.settings))
    pid = fork do
      100.times { |number| made.job_enqueued(made.job("resque", "q", "C", number.to_s)) }
      Process.kill(:KILL, Process.pid)
    end
    Process.wait(pid)
    eventually("all of its events") { @memory.of("job.enqueued").size == 100 }
  end
end
