// Which lane an event belongs to, and which Kafka partition a lane lives on: the same in every language.
//
// Nothing here knows what a partition key means; `jobs` and `workers` build them.

export const LANES = 64;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC-32 (IEEE) of the text's UTF-8 bytes, as an unsigned integer. */
export function crc32(text: string): number {
  let crc = -1;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 127) return crc32Bytes(Buffer.from(text, "utf8"));
    crc = (crc >>> 8) ^ (TABLE[(crc ^ unit) & 255] as number);
  }
  return ~crc >>> 0;
}

/** CRC-32 (IEEE) of bytes. */
export function crc32Bytes(bytes: Uint8Array): number {
  let crc = -1;
  for (let index = 0; index < bytes.length; index++) crc = (crc >>> 8) ^ (TABLE[(crc ^ (bytes[index] as number)) & 255] as number);
  return ~crc >>> 0;
}

/** crc32 of the key's UTF-8 bytes, modulo 64. */
export function laneOf(partitionkey: string): number {
  return crc32(partitionkey) & (LANES - 1);
}

/** The Kafka partition of a lane; `partitions` divides 64. A lane below 0 is none: the unnumbered copy for partition -lane-1. */
export function partitionOf(lane: number, partitions: number): number {
  return (lane < 0 ? -lane - 1 : lane) % partitions;
}

/** The lanes that live on one Kafka partition. */
export function lanesOf(partition: number, partitions: number): number[] {
  const lanes = [];
  for (let lane = partition; lane < LANES; lane += partitions) lanes.push(lane);
  return lanes;
}
