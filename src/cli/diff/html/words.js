'use strict';
// Numbers, times and names as text, in the words of the command's own answer; and how elements are made.
// Text from the data becomes text nodes and attributes that hold text, never markup.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

const byId = id => document.getElementById(id);

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes, unit = '';
  for (const next of units) {
    if (value < 999.95) break;
    value /= 1000;
    unit = next;
  }
  return `${value.toFixed(1)} ${unit}`;
}

const signedSize = bytes => (bytes === 0 ? '0 B' : (bytes < 0 ? '−' : '+') + size(Math.abs(bytes)));

const number = count => count.toLocaleString('en-US');

const counted = (count, one, several) => `${number(count)} ${count === 1 ? one : several}`;

function time(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s since 1970` : date.toISOString().replace('.000Z', 'Z');
}

// What could hide or turn the text around it is shown as bytes, as on a terminal. A name that is not UTF-8 comes in
// hexadecimal as well; then all but ASCII is shown as bytes.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\\]/g;
const ESCAPES = { '\n': '\\n', '\t': '\\t', '\\': '\\\\' };

const bytesAsText = bytes => Array.from(bytes, byte => `\\x${byte.toString(16).padStart(2, '0')}`).join('');

function printable(text, hex) {
  if (hex) {
    return hex.match(/../g).map(pair => {
      const byte = parseInt(pair, 16);
      return byte < 0x80 ? printable(String.fromCharCode(byte)) : `\\x${pair}`;
    }).join('');
  }
  return text.replace(UNSAFE, c => ESCAPES[c] ?? bytesAsText(new TextEncoder().encode(c)));
}

const evr = package_ => {
  if (!package_) return '';
  const epoch = package_.epoch === null ? '' : `${package_.epoch}:`;
  return printable(`${epoch}${package_.version}${package_.release ? `-${package_.release}` : ''}`);
};

// ---- Files

const pathOf = file => (file.shown ??= printable(file.path, file.path_hex));

// How a file differs, in four kinds; `other` is all that leaves the content as it was.
const KINDS = {
  added: 'added',
  removed: 'removed',
  content: 'changed in content',
  other: 'otherwise changed',
};

function kindOf(file) {
  if (file.change !== 'changed') return file.change;
  return file.what.some(what => ['content', 'type', 'target', 'device'].includes(what)) ? 'content' : 'other';
}

function valueOf(entry) {
  switch (entry.type) {
    case 'file': return size(entry.size_bytes);
    case 'symlink': return `-> ${printable(entry.target, entry.target_hex)}`;
    case 'char':
    case 'block': return `${entry.type} ${entry.major},${entry.minor}`;
    default: return entry.type;
  }
}

// The values that differ, as far as they are short.
function detailsOf(file) {
  const { old, new: now, what } = file;
  if (!old || !now) return valueOf(old ?? now);
  const parts = [];
  const pair = (was, is) => parts.push(`${was} → ${is}`);
  if (what.includes('type')) pair(old.type, now.type);
  else if (what.includes('target') || what.includes('device')) pair(valueOf(old), valueOf(now));
  else if (what.includes('content') && old.size_bytes === now.size_bytes) parts.push(size(now.size_bytes));
  else if (what.includes('content')) pair(size(old.size_bytes), size(now.size_bytes));
  if (what.includes('mode') && !what.includes('type')) pair(old.mode, now.mode);
  if (what.includes('owner')) pair(`${old.uid}/${old.gid}`, `${now.uid}/${now.gid}`);
  if (what.length === 1 && what[0] === 'mtime') pair(time(old.mtime), time(now.mtime));
  return parts.join(', ');
}

// Whose a file is, and whether it is as its package has it.
function ownerOf(file) {
  const owner = file.new_owner ?? file.old_owner;
  if (!owner) return { text: '', deviates: false };
  const names = owner.deviations.filter(name => name !== 'mtime');
  if (owner.as_packaged === false && !names.includes('content')) names.unshift('content');
  const deviates = Boolean(file.new_owner) && (owner.missing || names.length > 0);
  let text = printable(owner.package);
  if (owner.config) text += ' %config';
  if (owner.ghost) text += ' %ghost';
  if (owner.missing) text += ', which brings it';
  else if (deviates) text += `, not its ${names.join(', ')}`;
  else if (owner.as_packaged === true) text += ', as packaged';
  else if (owner.deviations.includes('mtime')) text += ', touched since';
  return { text, deviates };
}
