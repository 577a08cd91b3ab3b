// Refused is every no. Its status goes to whoever asked; its reason goes to the log, and never holds what was sent.
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.name = 'Refused';
    this.status = status;
    this.reason = reason;
  }
}
